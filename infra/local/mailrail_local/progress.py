"""This file prints what is being done and what went wrong, because somebody sits at the terminal and waits."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

REMINDER_SECONDS = 5.0
PROBE_GAP_SECONDS = 0.25

Seen = TypeVar("Seen")


class Failed(Exception):
    """Something did not work. The message says what it was and what to do about it."""


def say(text: str = "") -> None:
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints the title of a step when it begins, and how long it took when it is done."""
    started = time.monotonic()
    say(f"- {title}")
    yield
    seconds = time.monotonic() - started
    if seconds >= 1:
        say(f"  done in {seconds:.0f} s")


def wait_for(
    what: str,
    probe: Callable[[], Seen | None],
    seconds_max: float,
    remedy: str,
    gap_seconds: float = PROBE_GAP_SECONDS,
) -> Seen:
    """Calls `probe` until it returns something true, and tells the reader now and then what is awaited."""
    started = time.monotonic()
    reminded = started
    while True:
        seen = probe()
        if seen:
            return seen
        now = time.monotonic()
        if now - started >= seconds_max:
            raise Failed(f"waited {seconds_max:.0f} s in vain for {what}; {remedy}")
        if now - reminded >= REMINDER_SECONDS:
            reminded = now
            say(f"  ... waiting for {what} ({now - started:.0f} s of at most {seconds_max:.0f} s)")
        time.sleep(gap_seconds)


def refuse(failed: Exception) -> None:
    """Prints the last line of a run that failed."""
    print(f"\nerror: {failed}", file=sys.stderr, flush=True)
