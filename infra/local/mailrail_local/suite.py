"""The checks and tests of the workspace, and how many of them passed."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .paths import CONTRACTS, ROOT, TEMPLATE
from .progress import say, step

STACK_VARIABLE = "MAILRAIL_TEST_STACK"
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")
WARNINGS_ARE_ERRORS = "-D warnings"


@dataclass
class Result:
    passed: int = 0
    failed: int = 0
    cargo_failed: bool = False


def check() -> list[str]:
    """Runs every check, and answers the names of those that failed: one run shows all there is to mend."""
    cfn_lint = str(Path(sys.executable).parent / "cfn-lint")
    checks: list[tuple[str, list[str], dict[str, str]]] = [
        ("cargo fmt", ["cargo", "fmt", "--all", "--check"], {}),
        ("cfn-lint", [cfn_lint, str(TEMPLATE)], {}),
        ("cargo clippy", ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], {}),
        (
            "cargo doc",
            ["cargo", "doc", "--workspace", "--no-deps", "--document-private-items", "--locked"],
            {"RUSTDOCFLAGS": WARNINGS_ARE_ERRORS},
        ),
    ]
    failed = []
    for name, command, extra in checks:
        with step(name):
            if processes.run(command, {**os.environ, **extra}, folder=ROOT) != 0:
                say(f"  {name} FAILED")
                failed.append(name)
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
        say(f"NOT RUN: the contract tests of Exchange, whose contracts would be in {CONTRACTS.parent.parent.name}/ beside the checkout")
    return result
