"""This file starts our test servers of Exchange, because the end-to-end tests need an Exchange to talk to."""

from functools import partial
from pathlib import Path

from . import ports, prism
from .certificates import Certificates
from .paths import CONTRACTS, ROOT, cargo_target
from .processes import Processes, run
from .progress import Failed, step

# Each test server is an example of the package of the end-to-end tests. The keys name the servers and their ports.
EXAMPLES = {"exchange-online": "graph-server", "exchange-server": "ews-server"}


def build() -> None:
    """Builds the test servers."""
    examples = [word for example in EXAMPLES.values() for word in ("--example", example)]
    command = ["cargo", "build", "--locked", "--package", "end-to-end", *examples]
    with step("test servers of Exchange: cargo build"):
        if run(command, folder=ROOT) != 0:
            raise Failed(f"{' '.join(command)} failed; its messages above say why")


def start(processes: Processes, folder: Path, chosen: dict[str, int], certificates: Certificates) -> dict[str, str]:
    """Starts the test servers and returns their addresses."""
    for name, example in EXAMPLES.items():
        program = cargo_target() / "debug" / "examples" / example
        command = [str(program), str(chosen[name]), str(certificates.certificate), str(certificates.key)]
        service = processes.start(example, command, folder / f"{example}.log")
        service.wait_until(partial(ports.answers, chosen[name]))
    return {name: f"https://localhost:{chosen[name]}" for name in EXAMPLES}


def contracts() -> dict[str, str] | None:
    """Where Microsoft's contracts are and what checks them; nothing if they are not beside the checkout."""
    return {"prism": str(prism.PROGRAM), "folder": str(CONTRACTS)} if CONTRACTS.is_dir() else None
