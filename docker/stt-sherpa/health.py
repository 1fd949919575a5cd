"""Whether the WebSocket server takes a call: it answers the handshake with 101."""

import os
import socket
import sys

ASK = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2Fpd2EgaGVhbHRoIGNoZWNrIQ==\r\n\r\n"
)
GOODBYE = b"\x88\x80\0\0\0\0"


def taken(port: int) -> bool:
    """Ends the call in good order, or every check would stand in the server's log as an error."""
    with socket.create_connection(("127.0.0.1", port), timeout=4) as call:
        call.sendall(ASK.encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (more := call.recv(4096)):
            answer += more
        if is_taken := answer.startswith(b"HTTP/1.1 101"):
            call.sendall(GOODBYE)
            while call.recv(4096):
                pass
    return is_taken


if __name__ == "__main__":
    try:
        sys.exit(not taken(int(os.environ.get("STT_PORT") or "6006")))
    except OSError as error:
        sys.exit(f"stt: {error}")
