"""This file makes virtual environments in .local, because this project must not change the Python of its user."""

import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .paths import LOCAL, LOCAL_STACK
from .progress import Failed, step

PIP_SECONDS_MAX = 600
PIN = re.compile(r"^([\w.-]+)==([\w.-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Environment:
    folder: Path
    # Every package with its version and its hashes, so that pip does not have to look for dependencies.
    requirements: Path
    # The packages that we chose; the others are their dependencies.
    chosen: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def contents(self) -> str:
        names = [f"{name} {version}" for name, version in PIN.findall(self.chosen.read_text())]
        others = len(PIN.findall(self.requirements.read_text())) - len(names)
        return f"{', '.join(names)}" + (f", and {others} Python packages that these need" if others else "")

    def is_current(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text() == self._source()

    def make(self) -> None:
        with step(f"Python packages: installing into {self.folder.name}"):
            shutil.rmtree(self.folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(self.folder)])
            options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
            _run([str(self.python), "-m", "pip", "install", *options, "-r", str(self.requirements)])
            # Written last, so that an interrupted installation is never taken for a finished one.
            self._stamp.write_text(self._source())

    @property
    def _stamp(self) -> Path:
        return self.folder / "made-from"

    def _source(self) -> str:
        """What the environment is made from. If any of this changes, the environment is made anew."""
        pins = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
        return f"{pins} {sys.version.split()[0]} {self.folder}"


STACK = Environment(LOCAL / "venv", LOCAL_STACK / "requirements.txt", LOCAL_STACK / "requirements.in")
CARGO_LAMBDA = Environment(
    LOCAL / "venv-watch", LOCAL_STACK / "requirements-watch.txt", LOCAL_STACK / "requirements-watch.txt"
)


def _run(command: list[str]) -> None:
    if subprocess.run(command, timeout=PIP_SECONDS_MAX, check=False).returncode != 0:
        raise Failed(f"this failed, and its messages above say why: {' '.join(command)}")
