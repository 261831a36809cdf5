"""The command `infra/local/watch`: functions that are rebuilt and restarted at every change of their source.

MiniStack keeps doing the work of AWS, schedules, queues and the console's API, and hands every invocation to `cargo
lambda watch`, which compiles a function when it is first invoked and again when its source has changed. The functions
then run under the emulator's root account, not under their roles, and their timeouts are cargo-lambda's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import functions, stack
from .command import carry_out
from .demo import serve
from .deploy import STACK
from .paths import FUNCTIONS, LOCAL, ROOT, cargo_target, run_folder
from .ports import LOOPBACK, answers, free
from .processes import Processes
from .progress import Failed, step, wait_for

PIP_SECONDS_MAX = 600
START_SECONDS_MAX = 120.0
# A function is compiled when it is first invoked, by one cargo after another.
COMPILE_SECONDS_MAX = 900.0
CALL_SECONDS_MAX = 40.0
REQUIREMENTS = ROOT / "infra" / "local" / "requirements-watch.txt"
VENV = LOCAL / "venv-watch"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/watch",
        description="Runs the local stack with functions that are rebuilt at every change, until Ctrl-C.",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep mailboxes, emails and mail for the next start with --keep"
    )
    parser.add_argument(
        "--check", action="store_true", help="see a change of a copy of the source take effect, and end"
    )
    options = parser.parse_args()
    carry_out(check if options.check else lambda: watch(options.keep))


def watch(keep: bool) -> None:
    with _watching("watch", ROOT, keep) as (running, servers, log):
        print(f"Builds and logs of the functions: tail -f {log}")
        serve(running, servers)


def check() -> None:
    """The loop as its user has it: the console answers, its source changes, and it answers as changed."""
    source = Path("functions/console/src/monitoring.rs")
    before, after = '"status": "up"', '"status": "changed"'
    copy = run_folder("watch-check-source")
    with step("watch: a copy of the source"):
        _copy_source(copy)
    with _watching("watch-check", copy, keep=False) as (running, _, log):
        for status in ("up", "changed"):
            with step(f"watch: the console is compiled and says \"{status}\""):
                wait_for(
                    "the console's health",
                    lambda status=status: _health(running.console_url) == status,
                    COMPILE_SECONDS_MAX,
                    f"read {log}",
                )
            if status == "up":
                text = (copy / source).read_text()
                if before not in text:
                    raise Failed(f"{source} does not have {before}, which this check changes")
                (copy / source).write_text(text.replace(before, after))


def _health(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=CALL_SECONDS_MAX) as answer:
            return str(json.load(answer)["status"])
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return None


def _copy_source(to: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        raise Failed("git ls-files failed; run this in a clone of the repository")
    shutil.rmtree(to, ignore_errors=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


@contextmanager
def _watching(name: str, source: Path, keep: bool) -> Iterator[tuple[stack.Stack, Processes, Path]]:
    """The local stack whose functions are those that `cargo lambda watch` makes of `source`."""
    functions.need_cargo()
    cargo_lambda = _install()
    port = free()
    url = f"http://{LOOPBACK}:{port}/2015-03-31/functions"
    proxies = {f"{STACK}-{name}": f"{url}/{name}/invocations" for name in FUNCTIONS}
    with stack.up(stack.Wish(name, functions.placeholders(), keep=keep, proxies=proxies)) as (running, servers):
        with step("cargo lambda watch"):
            target = {"CARGO_TARGET_DIR": str(cargo_target())}
            environment = {**os.environ, **target, **_variables(running), **running.aws.environment}
            log = running.folder / "cargo-lambda.log"
            service = servers.start(
                "cargo lambda watch",
                [cargo_lambda, "lambda", "watch", "--invoke-address", LOOPBACK, "--invoke-port", str(port)],
                log,
                environment,
                folder=source,
            )

            def is_up() -> bool:
                service.fail_if_dead()
                return answers(port)

            wait_for("cargo lambda to listen", is_up, START_SECONDS_MAX, f"read {log}")
        yield running, servers, log


def _install() -> str:
    cargo_lambda = VENV / "bin" / "cargo-lambda"
    stamp = VENV / "made-from"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return str(cargo_lambda)
    with step("cargo-lambda: installing into .local/venv-watch"):
        shutil.rmtree(VENV, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "venv", str(VENV)],
            [
                str(VENV / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "-r",
                str(REQUIREMENTS),
            ],
        ):
            if subprocess.run(command, timeout=PIP_SECONDS_MAX, check=False).returncode != 0:
                raise Failed("cargo-lambda could not be installed; pip's message above says why")
        stamp.write_text(REQUIREMENTS.read_text())
    return str(cargo_lambda)


def _variables(running: stack.Stack) -> dict[str, str]:
    """The variables of all functions together: each name means the same in every function that has it."""
    deployed = running.aws.client("lambda")
    variables: dict[str, str] = {}
    for name in FUNCTIONS:
        variables |= deployed.get_function_configuration(FunctionName=f"{STACK}-{name}")["Environment"]["Variables"]
    return variables


if __name__ == "__main__":
    main()
