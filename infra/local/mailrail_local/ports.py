"""Free TCP ports of this machine, and one that is certain to be closed."""

import json
import socket
from pathlib import Path

from .progress import Failed

LOOPBACK = "127.0.0.1"


def choose(names: list[str], remembered: Path) -> dict[str, int]:
    """A free port for every name; those of the last run where its state was kept, since it has them in URLs."""
    if remembered.exists():
        ports = json.loads(remembered.read_text())
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
    """Any free port, for what nobody has to find again."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return server.getsockname()[1]


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


class ClosedPort:
    """A port that refuses every connection while this lives: bound, so nobody else gets it, but not listening."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]
