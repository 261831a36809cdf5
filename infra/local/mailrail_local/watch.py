"""The command `infra/local/watch`: functions that are rebuilt and restarted at every change of their source.

MiniStack keeps doing the work of AWS, schedules, queues and the console's API, and hands every invocation to `cargo
lambda watch`, which compiles a function when it is first invoked and again when its source has changed. The functions
then run under the emulator's root account, not under their roles, and their timeouts are cargo-lambda's.
"""

import argparse
import os
import shutil
import subprocess
import sys

from . import functions, stack
from .command import carry_out
from .demo import serve
from .deploy import STACK
from .paths import FUNCTIONS, LOCAL, ROOT
from .ports import LOOPBACK, answers, free
from .progress import Failed, step, wait_for

PIP_SECONDS_MAX = 600
START_SECONDS_MAX = 120.0
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
    options = parser.parse_args()
    carry_out(lambda: watch(options.keep))


def watch(keep: bool) -> None:
    functions.need_cargo()
    cargo_lambda = _install()
    port = free()
    url = f"http://{LOOPBACK}:{port}/2015-03-31/functions"
    proxies = {f"{STACK}-{name}": f"{url}/{name}/invocations" for name in FUNCTIONS}
    with stack.up(stack.Wish("watch", functions.placeholders(), keep=keep, proxies=proxies)) as (running, servers):
        with step("cargo lambda watch"):
            environment = {**os.environ, **_variables(running), **running.aws.environment}
            log = running.folder / "cargo-lambda.log"
            service = servers.start(
                "cargo lambda watch",
                [cargo_lambda, "lambda", "watch", "--invoke-address", LOOPBACK, "--invoke-port", str(port)],
                log,
                environment,
                folder=ROOT,
            )

            def is_up() -> bool:
                service.fail_if_dead()
                return answers(port)

            wait_for("cargo lambda to listen", is_up, START_SECONDS_MAX, f"read {log}")
        print(f"Builds and logs of the functions: tail -f {log}")
        serve(running, servers)


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
