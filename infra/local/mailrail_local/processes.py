"""This file starts and stops child processes, because none of them may outlive the run that started it."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import guard
from .ending import STOP_SECONDS_MAX, end_group, run_stop_command
from .progress import Failed, wait_for
from .root import as_root

START_SECONDS_MAX = 120.0
LOG_TAIL_LINES = 15


def remove(path: Path) -> None:
    """Removes a file or a folder, even if servers under other accounts have left files in it."""
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except PermissionError:
        if subprocess.run(as_root(["rm", "-rf", "--", str(path)]), check=False).returncode != 0:
            raise Failed(f"{path} could not be removed; remove it by hand: sudo rm -rf {path}") from None


@dataclass
class Service:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_command: list[str] | None

    def fail_if_dead(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended by itself (exit code {code}); its log ends:\n{tail(self.log)}")

    def wait_until(self, is_up: Callable[[], bool], log: Path | None = None) -> None:
        """Waits for the server to be up; `log` is where it says why it is not, if not in its output."""

        def probe() -> bool:
            self.fail_if_dead()
            return is_up()

        wait_for(f"{self.name} to be up", probe, START_SECONDS_MAX, f"read {log or self.log}")


class Processes:
    """The servers of a run. They are stopped when the `with` block is left, for whatever reason."""

    def __init__(self) -> None:
        self._services: list[Service] = []
        # The guard has a session of its own, so that it outlives whatever kills this process.
        self._guard = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.guard"], stdin=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._tell_guard(guard.STOPPED)
        self._guard.communicate(timeout=STOP_SECONDS_MAX)

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{line}\n".encode())
        self._guard.stdin.flush()

    def start(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        stop_command: list[str] | None = None,
        folder: Path | None = None,
    ) -> Service:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        self._tell_guard(guard.line(process.pid, stop_command))
        service = Service(name, process, log, stop_command)
        self._services.append(service)
        return service

    def fail_if_any_dead(self) -> None:
        for service in self._services:
            service.fail_if_dead()

    def stop(self) -> None:
        # A second Ctrl-C must not leave half of the servers behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            while self._services:
                _stop(self._services.pop())
        finally:
            signal.signal(signal.SIGINT, previous)


def _stop(service: Service) -> None:
    if service.process.poll() is None:
        if service.stop_command is not None:
            run_stop_command(service.stop_command)
        else:
            service.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            service.process.wait(STOP_SECONDS_MAX)
    # Workers may be left of a server that was killed or would not stop.
    _end(service.process)


def _end(process: subprocess.Popen[Any]) -> None:
    end_group(process.pid)
    process.wait(STOP_SECONDS_MAX)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> int:
    """Runs a tool to its end, with its output on the terminal, and returns its exit code."""
    process = subprocess.Popen(
        command, env=None if environment is None else dict(environment), cwd=folder, start_new_session=True
    )
    try:
        return process.wait()
    finally:
        _end(process)


def stream(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[str | int]:
    """Runs a tool, yields its lines of output as they come, and at last yields its exit code as an `int`."""
    process = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        assert process.stdout is not None
        yield from process.stdout
        yield process.wait()
    finally:
        _end(process)


def server_program(name: str) -> str:
    """The path of a server's program; Debian keeps servers where only root's PATH looks."""
    return shutil.which(name) or f"/usr/sbin/{name}"


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    try:
        return "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "    (no log)"


def interrupt_on_signals() -> None:
    """Lets SIGTERM and a closed terminal end a run through every `finally`, as Ctrl-C does."""

    def interrupt(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)


def sleep_until_interrupted(processes: Processes) -> None:
    """Keeps the servers up until Ctrl-C, or until one of them ends."""
    while True:
        processes.fail_if_any_dead()
        time.sleep(1)
