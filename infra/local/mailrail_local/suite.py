"""This file runs the checks and the tests and counts them, because the test command ends with their number."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import processes
from .paths import CONTRACTS, LOCAL_STACK, ROOT, TEMPLATE
from .progress import say, step

STACK_VARIABLE = "MAILRAIL_TEST_STACK"
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")


@dataclass
class Result:
    passed: int = 0
    failed: int = 0
    cargo_failed: bool = False


@dataclass(frozen=True)
class Check:
    name: str
    command: list[str]
    folder: Path = ROOT
    variables: Mapping[str, str] = field(default_factory=dict)


def _tool(name: str, *arguments: str) -> list[str]:
    """A command of the virtual environment."""
    return [str(Path(sys.executable).parent / name), *arguments]


PYTHON_CHECKS = [
    Check("ruff check", _tool("ruff", "check", "."), LOCAL_STACK),
    Check("ruff format", _tool("ruff", "format", "--check", "."), LOCAL_STACK),
    Check("mypy --strict", _tool("mypy", "--strict", "."), LOCAL_STACK),
]
CHECKS = [
    *PYTHON_CHECKS,
    Check("cfn-lint", _tool("cfn-lint", str(TEMPLATE))),
    Check("cargo fmt", ["cargo", "fmt", "--all", "--check"]),
    Check("cargo clippy", ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    Check(
        "cargo doc",
        ["cargo", "doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
        variables={"RUSTDOCFLAGS": "-D warnings"},
    ),
]


def check(checks: Sequence[Check] = CHECKS) -> list[str]:
    """Runs every check and returns the names of those that failed, so that one run shows all there is to mend."""
    failed = []
    for one in checks:
        with step(one.name):
            if processes.run(one.command, {**os.environ, **one.variables}, folder=one.folder) != 0:
                say(f"  {one.name} FAILED")
                failed.append(one.name)
    return failed


def run(environment: Mapping[str, str], only: str | None) -> Result:
    command = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", *([only] if only else [])]
    result = Result()
    with step("cargo test"):
        for line in processes.stream(command, environment, ROOT):
            if isinstance(line, int):
                result.cargo_failed = line != 0
                continue
            print(line, end="", flush=True)
            counted = RESULT.match(line)
            if counted:
                result.passed += int(counted[1])
                result.failed += int(counted[2])
    if not CONTRACTS.is_dir():
        say("NOT RUN: the contract tests of Exchange, because Microsoft's contracts are not beside the checkout")
    return result
