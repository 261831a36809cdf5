"""This file wraps the work of every command, because all of them have to end in the same way if something fails."""

import sys
from collections.abc import Callable

from . import processes
from .progress import Failed, refuse, say

INTERRUPTED = 130


def carry_out(work: Callable[[], int | None]) -> None:
    """Does the work, whose servers are stopped when it returns, and ends the process with an exit code."""
    processes.interrupt_on_signals()
    try:
        code = work() or 0
    except Failed as failed:
        refuse(failed)
        code = 1
    except KeyboardInterrupt:
        say("\ninterrupted; everything is stopped")
        code = INTERRUPTED
    sys.exit(code)
