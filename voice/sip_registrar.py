"""Where a telephone system is that makes us one of its extensions."""

SIP_PORT = 5060


def split(registrar: str) -> tuple[str, int]:
    """Its name or address, and its port: fritz.box, 192.168.1.1:5070, [fd00::1]:5070.

    Raises:
        ValueError: There is no name, or the port is none.
    """
    name = registrar.removeprefix("sip:")
    host, colon, port = name.rpartition(":")
    if not colon or name.endswith("]") or ":" in host and not host.endswith("]"):
        host, port = name, str(SIP_PORT)
    if not host.strip("[]"):
        raise ValueError("it has no name")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536):
        raise ValueError(f"{port[:20]!r} is no port")
    return host.strip("[]"), int(port)
