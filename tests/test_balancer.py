"""HAProxy as it is configured here, before two real servers: calls spread, and none is lost."""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.needed import needed
from tests.served import SIGTERM, Caller, Served, eventually, get, request, upgrade

pytestmark = pytest.mark.real_time

Serve = Callable[..., Served]

CONFIG = Path(__file__).parent.parent / "docker" / "haproxy" / "haproxy.cfg"
LINES = re.compile(r"^    server(?:-template)? .*resolvers docker.*\n", re.MULTILINE)
"""Those that name Docker's services."""


def haproxy() -> str:
    return needed("haproxy", "/usr/sbin/haproxy")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Balancer:
    """The configuration with these servers in the place of Docker's."""

    def __init__(self, folder: Path, *servers: Served) -> None:
        text, (first, *rest) = CONFIG.read_text("utf-8"), LINES.findall(CONFIG.read_text("utf-8"))
        here = "".join(
            f"    server kaiwa{number} {one.url.removeprefix('http://').rstrip('/')}\n"
            for number, one in enumerate(servers)
        )
        text = text.replace(first, here)
        for line in rest:
            text = text.replace(line, "")
        file = folder / "haproxy.cfg"
        file.write_text(text, "utf-8")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [haproxy(), "-db", "-f", str(file)],
            env={**os.environ, "BALANCER_BIND": f"127.0.0.1:{port}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def answers(self) -> bool:
        with contextlib.suppress(OSError, AssertionError):
            return get(self.url, "/ready", limit_s=2.0).status == 200
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(15)


@contextlib.contextmanager
def calling(url: str, count: int) -> Iterator[list[Caller]]:
    """So many open calls, each of which has its session."""
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Caller(url)) for _ in range(count)]
        for caller in callers:
            caller.until("session.created")
        yield callers


def sessions(server: Served) -> int:
    return int(get(server.url, "/health").json["sessions"])


@pytest.fixture
def two(serving: Serve) -> list[Served]:
    return [serving(fresh=True, server={"max_sessions": 6, "drain_s": 30.0}) for _ in range(2)]


@pytest.fixture
def balancer(tmp_path: Path, two: list[Served]) -> Iterator[Balancer]:
    one = Balancer(tmp_path, *two)
    try:
        eventually(one.answers, "the balancer has found a server")
        yield one
    finally:
        one.stop()


def test_the_configuration_is_one_and_names_the_services_of_compose() -> None:
    done = subprocess.run(
        [haproxy(), "-c", "-f", str(CONFIG)],
        env={"BALANCER_BIND": ":8000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = re.findall(r"^ +server\S* .*?(\w+:\d+) ", CONFIG.read_text("utf-8"), re.MULTILINE)
    assert named == ["backend:8000", "worker:8000"]


def test_calls_go_to_the_process_that_has_fewer(balancer: Balancer, two: list[Served]) -> None:
    with calling(balancer.url, 6) as callers:
        assert [sessions(server) for server in two] == [3, 3]
        callers[0].answers()
        callers[0].socket.close()
        eventually(lambda: sum(map(sessions, two)) == 5, "one has gone")
        with calling(balancer.url, 1):
            assert [sessions(server) for server in two] == [3, 3]


def test_a_call_that_one_refuses_is_taken_by_another_and_only_all_refuse_it(
    balancer: Balancer, two: list[Served]
) -> None:
    with calling(two[0].url, 6), calling(balancer.url, 6):
        assert [sessions(server) for server in two] == [6, 6]
        refused = request(balancer.url, upgrade(balancer.url))
        assert (refused.status, refused.json["error"]["code"]) == (503, "server_busy")
        assert int(refused.headers["retry-after"]) >= 2


def test_one_that_stops_gets_no_call_and_its_answers_end(
    balancer: Balancer, two: list[Served]
) -> None:
    with calling(balancer.url, 2) as callers:
        for caller in callers:
            caller.write("one two three four")
            caller.send({"type": "response.create"})
            caller.until("response.output_audio.delta")
        two[0].signal(SIGTERM)
        two[0].logged("draining")
        with calling(balancer.url, 3) as later:  # at once: no health check has told of it yet
            assert sessions(two[1]) == 4
            for caller in (*callers, *later[:1]):
                if caller in later:
                    caller.answers()
                else:
                    assert caller.until("response.done")["response"]["status"] == "completed"
            codes = []
            two[0].wait()
            for caller in callers:
                with contextlib.suppress(TimeoutError):
                    codes.append(caller.close_code(limit_s=1.0))
            assert codes == [1001]
    assert two[0].process.returncode == 0


def test_the_calls_of_one_that_is_killed_end_and_further_ones_go_to_the_other(
    balancer: Balancer, two: list[Served]
) -> None:
    with calling(balancer.url, 4) as callers:
        two[0].process.kill()
        two[0].wait()
        with calling(balancer.url, 2) as later:
            assert sessions(two[1]) == 4
            later[0].answers()
        ended = []
        for caller in callers:
            with contextlib.suppress(TimeoutError):
                ended.append(caller.close_code(limit_s=1.0))
        assert ended == [1006, 1006]
