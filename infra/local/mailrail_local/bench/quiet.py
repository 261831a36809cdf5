"""This file waits until the machine is idle, because other work on it would distort what is measured."""

import time
from pathlib import Path

# Above this, the time that a measurement takes depends too much on the other work.
BUSY_MAX = 0.3
SAMPLE_SECONDS = 0.5
IDLE_FIELDS = slice(3, 5)


def moment(seconds_max: float) -> float:
    """Waits up to `seconds_max` for a quiet moment, and returns how busy the machine was last: 0 to 1."""
    started = time.monotonic()
    while True:
        busy = _busy()
        if busy <= BUSY_MAX or time.monotonic() - started >= seconds_max:
            return busy


def _busy() -> float:
    before = _times()
    time.sleep(SAMPLE_SECONDS)
    passed = [after - before for before, after in zip(before, _times(), strict=True)]
    return 1 - sum(passed[IDLE_FIELDS]) / max(1, sum(passed))


def _times() -> list[int]:
    first = Path("/proc/stat").read_text().splitlines()[0]
    return [int(field) for field in first.split()[1:9]]
