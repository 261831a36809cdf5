"""The test servers of Exchange, Online and on premises, and what checks them against Microsoft's contracts."""

import os
import shutil
import subprocess
from pathlib import Path

from . import packages, ports
from .certificates import Certificates
from .paths import CONTRACTS, LOCAL, ROOT, cargo_target
from .processes import Processes, run
from .progress import Failed, step, wait_for

# Of `npm ci`.
NPM_SECONDS_MAX = 600
START_SECONDS_MAX = 30.0
NODE_PACKAGES = ["nodejs", "npm"]
MANIFEST = Path(__file__).resolve().parents[1] / "node"
LOCK = "package-lock.json"
# The test servers, each an example of the end-to-end tests, by the names of their ports.
EXAMPLES = {"exchange-online": "graph-server", "exchange-server": "ews-server"}
# What validates XML against a schema.
VALIDATOR = ["libxml2-utils"]


def build() -> None:
    """Builds the test servers, from the sources that the tests themselves use."""
    examples = [word for example in EXAMPLES.values() for word in ("--example", example)]
    command = ["cargo", "build", "--locked", "--package", "end-to-end", *examples]
    with step("test servers of Exchange"):
        if run(command, os.environ, folder=ROOT) != 0:
            raise Failed(f"{' '.join(command)} failed; its messages above say why")


def start(processes: Processes, folder: Path, chosen: dict[str, int], certificates: Certificates) -> dict[str, str]:
    """Starts them, and answers where each is."""
    return {
        name: _start(processes, folder, example, chosen[name], certificates) for name, example in EXAMPLES.items()
    }


def _start(processes: Processes, folder: Path, example: str, port: int, certificates: Certificates) -> str:
    program = cargo_target() / "debug" / "examples" / example
    log = folder / f"{example}.log"
    command = [str(program), str(port), str(certificates.certificate), str(certificates.key)]
    service = processes.start(example, command, log)

    def is_up() -> bool:
        service.fail_if_dead()
        return ports.answers(port)

    wait_for(f"{example} to listen", is_up, START_SECONDS_MAX, f"read {log}")
    return f"https://localhost:{port}"


def contracts() -> dict[str, str] | None:
    """The contracts and what checks them, installed where the reference shelf is; without it their tests say so."""
    if not CONTRACTS.is_dir():
        return None
    prism = LOCAL / "node" / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
    if not prism.exists() or (LOCAL / "node" / LOCK).read_bytes() != (MANIFEST / LOCK).read_bytes():
        if shutil.which("npm") is None:
            packages.ensure(NODE_PACKAGES)
        with step("npm packages of the contract test"):
            _install(prism)
    packages.ensure(VALIDATOR)
    return {"prism": str(prism), "folder": str(CONTRACTS)}


def _install(prism: Path) -> None:
    home = LOCAL / "node"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", LOCK):
        shutil.copy(MANIFEST / name, home / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=NPM_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"npm took more than {NPM_SECONDS_MAX} s; run it by hand in {home}: {' '.join(command)}") from None
    if done.returncode != 0 or not prism.exists():
        raise Failed(f"{' '.join(command)} failed in {home}:\n{(done.stdout + done.stderr).strip()}")
