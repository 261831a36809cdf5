"""This file runs the parts of the bench that are written in Rust, because each is measured as a process of its own."""

import json
import os
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import processes
from ..paths import ROOT
from ..progress import Failed, step

# The longest work of all: a first synchronization into the emulator.
ANSWER_SECONDS_MAX = 1_800
STOP_SECONDS_MAX = 10

Json = dict[str, Any]


def build() -> tuple[Path, Path]:
    """Builds the bench's program and the function that receives email, and returns their paths."""
    # One call builds both, so that both consist of the same crates.
    command = ["cargo", "build", "--locked", "--profile", "bench", "--message-format", "json-render-diagnostics"]
    command += ["--package", "end-to-end", "--bench", "sync", "--package", "receive-email", "--bin", "receive-email"]
    found: dict[str, Path] = {}
    with step("cargo build with the bench's profile (many minutes the first time)"):
        for line in processes.stream(command, os.environ, ROOT):
            if isinstance(line, int):
                if line != 0:
                    raise Failed("the bench does not compile; cargo's messages above say why")
            elif not line.startswith("{"):
                print(line, end="", flush=True)
            else:
                made = json.loads(line)
                if made["reason"] == "compiler-artifact" and made["executable"]:
                    found[made["target"]["name"]] = Path(made["executable"])
    return found["sync"], found["receive-email"]


class Part:
    """A part that stays: it says something first, answers each line with a line, and ends with this object."""

    def __init__(
        self, program: Path, *arguments: str | Path | int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._name = str(arguments[0])
        self._process = subprocess.Popen(
            [str(program), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            # Ctrl-C must reach the run alone; a part ends when its input ends.
            start_new_session=True,
        )
        self.first = self._answer()

    def ask(self, command: str = "counts") -> Json:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Json:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS_MAX)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise Failed(f"the part `{self._name}` of the bench gave no answer; its message above says why")
        answer: Json = json.loads(line)
        return answer

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def once(program: Path, *arguments: str | Path | int) -> Json:
    """Runs a part that does one thing, and returns what it says."""
    with Part(program, *arguments) as part:
        return part.first
