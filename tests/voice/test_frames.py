"""Whole frames against the protocol that parses everything."""

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.served import masked
from voice.transports.frames import BINARY, TEXT, frame_of, whole_frame

SIZES = [0, 1, 125, 126, 127, 1340, 65_535, 65_536, 100_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("binary", [False, True])
def test_a_frame_is_what_the_protocol_would_have_sent(size: int, binary: bool) -> None:
    payload = b"x" * size
    frame = Frame(Opcode.BINARY if binary else Opcode.TEXT, payload)
    assert frame_of(payload, binary=binary) == frame.serialize(mask=False)


@pytest.mark.parametrize("size", [size for size in SIZES if size < 65_536])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_a_whole_frame_is_unmasked_wherever_it_lies(size: int, kind: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    frame = Frame(Opcode(kind), payload).serialize(mask=True)
    assert whole_frame(b"ab" + frame + b"cd", 2) == (kind, payload, 2 + len(frame))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        masked(1)[:-1],
        masked(1, b"x" * 1000)[:-1],
        masked(1, b"x" * 1000)[:5],
        masked(2, bytes(65_536)),
        masked(1, b"a part", fin=False),
        masked(0, b"the rest"),
        masked(8),
        masked(9),
        masked(10),
        b"\xc1" + masked(1)[1:],  # a reserved bit
        frame_of(b"not masked", binary=False),
        frame_of(b"x" * 300, binary=True),
    ],
)
def test_anything_else_is_left_to_the_protocol(data: bytes) -> None:
    assert whole_frame(data, 0) is None


def test_what_is_sent_is_read_by_a_client() -> None:
    client = ClientProtocol(parse_uri("ws://localhost/"))
    server = ServerProtocol()
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]  # it is the request
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    client.receive_data(frame_of(b"an event", binary=False) + frame_of(bytes(500), binary=True))
    assert [bytes(frame.data) for frame in client.events_received()] == [b"an event", bytes(500)]  # type: ignore[union-attr]  # data frames
