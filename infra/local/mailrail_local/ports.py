"""This file finds free TCP ports, because no server here may get in the way of another one on this machine."""

import json
import socket
from pathlib import Path

from .progress import Failed

LOOPBACK = "127.0.0.1"


def choose(names: list[str], remembered: Path) -> dict[str, int]:
    """A free port for every name. Kept state has its ports in URLs, so it gets the same ports again."""
    if remembered.exists():
        ports: dict[str, int] = json.loads(remembered.read_text())
        if set(ports) == set(names):
            taken = [f"{name} {port}" for name, port in ports.items() if not _is_free(port)]
            if taken:
                raise Failed(
                    f"ports that the kept state was made with are taken ({', '.join(taken)}); "
                    "stop what listens there, or start afresh by leaving out --keep"
                )
            return ports
    held = [socket.create_server((LOOPBACK, 0)) for _ in names]
    ports = {name: server.getsockname()[1] for name, server in zip(names, held, strict=True)}
    for server in held:
        server.close()
    remembered.write_text(json.dumps(ports, indent=2) + "\n")
    return ports


def _is_free(port: int) -> bool:
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True


def free() -> int:
    """Any free port."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody accepts connections at the port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


class ClosedPort:
    """A port that refuses connections. A socket is bound to it, so nobody else can get it, but does not listen."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((LOOPBACK, 0))
        self.number = int(self._socket.getsockname()[1])
