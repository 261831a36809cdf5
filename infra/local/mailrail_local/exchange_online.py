"""The test server of a tenant of Exchange Online, and the proxy that checks it against Microsoft's contract."""

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
EXAMPLE = "graph-server"


def build() -> None:
    """Builds the test server, from the sources that the tests themselves use."""
    command = ["cargo", "build", "--locked", "--package", "end-to-end", "--example", EXAMPLE]
    with step("test server of Exchange Online"):
        if run(command, os.environ, folder=ROOT) != 0:
            raise Failed(f"{' '.join(command)} failed; its messages above say why")


def start(processes: Processes, folder: Path, port: int, certificates: Certificates) -> str:
    """Starts it, and answers where it is."""
    program = cargo_target() / "debug" / "examples" / EXAMPLE
    log = folder / f"{EXAMPLE}.log"
    command = [str(program), str(port), str(certificates.certificate), str(certificates.key)]
    service = processes.start(EXAMPLE, command, log)

    def is_up() -> bool:
        service.fail_if_dead()
        return ports.answers(port)

    wait_for("the test server of Exchange Online to listen", is_up, START_SECONDS_MAX, f"read {log}")
    return f"https://localhost:{port}"


def contracts() -> dict[str, str] | None:
    """The proxy and the contracts, installed where the reference shelf is; without it their tests say so."""
    if not CONTRACTS.is_dir():
        return None
    prism = LOCAL / "node" / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
    if not prism.exists() or (LOCAL / "node" / LOCK).read_bytes() != (MANIFEST / LOCK).read_bytes():
        if shutil.which("npm") is None:
            packages.ensure(NODE_PACKAGES)
        with step("npm packages of the contract test"):
            _install(prism)
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
