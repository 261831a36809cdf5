"""How busy the machine is with other people's work, and a moment in which it is not."""

import time
from pathlib import Path

# Above this, a wall clock tells more about the others than about what is measured.
BUSY_MAX = 0.3
SAMPLE_SECONDS = 0.5
IDLE_FIELDS = slice(3, 5)


def moment(seconds_max: float) -> float:
    """Waits for a quiet moment, for so long at most, and answers how busy the machine is in the one that it found."""
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
