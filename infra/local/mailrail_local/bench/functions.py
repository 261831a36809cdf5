"""This program is the command `infra/local/measure-functions`, because large functions start slowly."""

import argparse
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .. import functions, processes
from ..command import carry_out
from ..paths import FUNCTIONS, ROOT, cargo_target
from ..ports import LOOPBACK
from ..progress import Failed, say, step
from . import quiet, table

IDLE = "idle-function"
ZIP_MEGABYTES_MAX = 6
STARTS_MAX = 2
TIMES = 30
START_SECONDS_MAX = 20.0
PATIENCE_SECONDS = 5.0
NEXT = b"GET /2018-06-01/runtime/invocation/next"

# The variables that Lambda and the template set. Their values do not matter, because nothing is called at the start.
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_NAME": "measured",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_LOG_GROUP_NAME": "measured",
    "AWS_LAMBDA_LOG_STREAM_NAME": "measured",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_SESSION_TOKEN": "none",
    "TABLE_NAME": "none",
    "BUCKET_NAME": "none",
    "KMS_KEY_ID": "none",
    "INCOMING_EMAIL_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/0/incoming",
    "TESTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/0/tests",
    "OUTGOING_EMAIL_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/0/outgoing",
    "CONSOLE_TOKEN_SHA256": "0" * 64,
}


@dataclass(frozen=True)
class Function:
    name: str
    program: Path


@dataclass(frozen=True)
class Start:
    """What a process took from its start until it asked for work."""

    milliseconds: float
    processor_milliseconds: float
    peak_kilobytes: int


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/measure-functions",
        description="Measures the functions as they are released: sizes of their zips, and times to start.",
    )
    parser.parse_args()
    carry_out(measure)


def measure() -> None:
    built = build()
    sizes = {
        one.name: (one.program.stat().st_size, len(functions.zipped(one.program.read_bytes(), functions.RELEASED)))
        for one in built
    }
    starts: dict[str, list[Start]] = {one.name: [] for one in built}
    with step(f"starting each function {TIMES} times"):
        for _ in range(TIMES):
            quiet.moment(PATIENCE_SECONDS)
            for one in built:
                starts[one.name].append(start(one))
    medians = {name: median(one.milliseconds for one in all_starts) for name, all_starts in starts.items()}
    lines = []
    for one in built:
        binary, archive = (size / 1_000_000 for size in sizes[one.name])
        times_idle = medians[one.name] / medians[IDLE]
        lines.append(
            [
                one.name,
                f"{binary:.2f}",
                f"{archive:.2f}",
                _verdict(archive <= ZIP_MEGABYTES_MAX),
                f"{medians[one.name]:.2f}",
                f"{min(each.milliseconds for each in starts[one.name]):.2f}",
                f"{median(each.processor_milliseconds for each in starts[one.name]):.1f}",
                f"{median(each.peak_kilobytes for each in starts[one.name]) / 1_000:.1f}",
                f"{times_idle:.2f}",
                _verdict(times_idle <= STARTS_MAX),
            ]
        )
    say()
    names = ["function", "binary MB", "zip MB", f"<= {ZIP_MEGABYTES_MAX}", "start ms (median)", "least", "CPU ms"]
    table.table([*names, "MB", f"x {IDLE}", f"<= {STARTS_MAX}"], lines)


def build() -> list[Function]:
    commands = [
        ["cargo", "build", "--locked", "--release", *(word for name in FUNCTIONS for word in ("--package", name))],
        ["cargo", "build", "--locked", "--release", "--package", "end-to-end", "--example", IDLE],
    ]
    with step("cargo build --release (very many minutes the first time)"):
        for command in commands:
            if processes.run(command, folder=ROOT) != 0:
                raise Failed("the functions do not compile; cargo's messages above say why")
    release = cargo_target() / "release"
    return [Function(IDLE, release / "examples" / IDLE), *(Function(name, release / name) for name in FUNCTIONS)]


def start(function: Function) -> Start:
    """Starts a function, plays the Lambda runtime API for it, and ends it when it asks for work."""
    with socket.create_server((LOOPBACK, 0)) as api:
        api.settimeout(START_SECONDS_MAX)
        environment = {**ENVIRONMENT, "AWS_LAMBDA_RUNTIME_API": f"{LOOPBACK}:{api.getsockname()[1]}"}
        began = time.perf_counter()
        process = subprocess.Popen([function.program], env=environment, stdout=subprocess.DEVNULL)
        try:
            with api.accept()[0] as connection:
                connection.settimeout(START_SECONDS_MAX)
                asked = connection.recv(len(NEXT), socket.MSG_WAITALL)
                took = time.perf_counter() - began
        except TimeoutError:
            raise Failed(f"{function.name} did not ask for work in {START_SECONDS_MAX:.0f} s") from None
        finally:
            # `process.kill` and `process.wait` would lose what the process has used.
            os.kill(process.pid, signal.SIGKILL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if asked != NEXT:
        raise Failed(f"{function.name} asked for {asked!r} first")
    return Start(took * 1_000, (used.ru_utime + used.ru_stime) * 1_000, used.ru_maxrss)


def _verdict(reached: bool) -> str:
    return "reached" if reached else "NOT REACHED"


if __name__ == "__main__":
    main()
