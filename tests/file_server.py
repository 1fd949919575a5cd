"""A web server with one file and whatever can go wrong on the way to it."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FileServer:
    """`content` under every path. What it does is set before a request, and may be changed.

    statuses      answers of the next requests, instead of the file
    cut_after     bytes after which the connection of the next request is closed; each used once
    has_ranges    whether it continues
    validator     header and value that name the file's version; None: nothing does
    length        said instead of the true one
    excess        sent behind the file's end
    redirect      where the next request is sent instead
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.statuses: list[int] = []
        self.cut_after: list[int] = []
        self.has_ranges = True
        self.validator: tuple[str, str] | None = None
        self.length: int | None = None
        self.excess = b""
        self.redirect = ""
        self.asked: list[dict[str, str]] = []
        """Headers of each request, as they came; the path as "path"."""
        self.url = ""

    @property
    def ranges(self) -> list[str]:
        return [headers.get("Range", "") for headers in self.asked]

    def version(self) -> tuple[str, str]:
        if self.validator is not None:
            return self.validator
        return "ETag", f'"{hashlib.md5(self.content).hexdigest()}"'

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = dict(handler.headers.items())
        self.asked.append({**headers, "path": handler.path})
        if self.redirect:
            target, self.redirect = self.redirect, ""
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if self.statuses:
            handler.send_response(self.statuses.pop(0))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        name, version = self.version()
        start = 0
        if self.has_ranges and "Range" in headers and headers.get("If-Range", version) == version:
            start = int(headers["Range"].removeprefix("bytes=").rstrip("-"))
        if start > len(self.content) or (start and start == len(self.content)):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self._send(handler, start, (name, version))

    def _send(self, handler: BaseHTTPRequestHandler, start: int, version: tuple[str, str]) -> None:
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            end = len(self.content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{end}/{len(self.content)}")
        handler.send_header("Content-Length", str(self.length or len(body)))
        if version[0]:
            handler.send_header(*version)
        handler.end_headers()
        handler.close_connection = True
        sent = body[: self.cut_after.pop(0)] if self.cut_after else body + self.excess
        with contextlib.suppress(ConnectionError):  # a client may have seen enough
            handler.wfile.write(sent)


@contextmanager
def serving_file(content: bytes) -> Iterator[FileServer]:
    file = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            file.answer(self)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    file.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield file
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
