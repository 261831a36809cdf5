"""This program is the command `infra/local/watch`, because somebody who changes a function wants to see it run at once.

MiniStack does the work of AWS: schedules, queues and the API. It hands every invocation to `cargo lambda watch`, which
compiles a function at its first invocation and again after a change of its source. The functions then run under the
emulator's root account, not under their roles, and cargo-lambda sets their time-outs.
"""

import argparse
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import functions, stack
from .command import carry_out
from .demo import serve
from .deploy import STACK
from .environments import CARGO_LAMBDA
from .paths import FUNCTIONS, ROOT, cargo_target, run_folder
from .ports import LOOPBACK, answers, free
from .processes import Processes
from .progress import Failed, step, wait_for

# A function is compiled when it is first invoked, and one cargo waits for another.
COMPILE_SECONDS_MAX = 900.0
CALL_SECONDS_MAX = 40.0
# The check changes this part of this file.
STATUS = 'status: "up"'
CHANGED_SOURCE = Path("functions/console/src/api/health.rs")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/watch",
        description="Runs the local stack with functions that are rebuilt at every change, until Ctrl-C.",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep mailboxes, emails and mail for the next start with --keep"
    )
    options = parser.parse_args()
    carry_out(lambda: watch(options.keep))


def watch(keep: bool) -> None:
    with _watching("watch", ROOT, keep) as (running, servers, log):
        print(f"Builds and logs of the functions: tail -f {log}")
        serve(running, servers)


def check() -> None:
    """Uses the loop as a developer does: the console answers, its source is changed, and it answers as changed."""
    copy = run_folder("watch-check-source")
    with step("watch: copying the source"):
        _copy_source(copy)
    source = copy / CHANGED_SOURCE
    text = source.read_text() if source.is_file() else ""
    if STATUS not in text:
        raise Failed(f"{CHANGED_SOURCE} does not contain {STATUS}, which this check has to change")
    with _watching("watch-check", copy, keep=False) as (running, _, log):
        _wait_for_status(running, "up", log)
        source.write_text(text.replace(STATUS, 'status: "changed"'))
        _wait_for_status(running, "changed", log)


def _wait_for_status(running: stack.Stack, status: str, log: Path) -> None:
    with step(f'watch: the console is compiled and says "{status}"'):
        wait_for(
            "the console's health", lambda: _health(running.console_url) == status, COMPILE_SECONDS_MAX, f"read {log}"
        )


def _health(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=CALL_SECONDS_MAX) as answer:
            return str(json.load(answer)["status"])
    except (OSError, ValueError, KeyError):
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
    """The local stack, with the functions that `cargo lambda watch` compiles from `source`."""
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
                [
                    str(CARGO_LAMBDA.folder / "bin" / "cargo-lambda"),
                    "lambda",
                    "watch",
                    "--invoke-address",
                    LOOPBACK,
                    "--invoke-port",
                    str(port),
                ],
                log,
                environment,
                folder=source,
            )
            service.wait_until(lambda: answers(port))
        yield running, servers, log


def _variables(running: stack.Stack) -> dict[str, str]:
    """The variables of all functions together. A name has the same value in every function that has it."""
    deployed = running.aws.client("lambda")
    variables: dict[str, str] = {}
    for name in FUNCTIONS:
        variables |= deployed.get_function_configuration(FunctionName=f"{STACK}-{name}")["Environment"]["Variables"]
    return variables


if __name__ == "__main__":
    main()
