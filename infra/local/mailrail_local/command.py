"""What every command does around its work: one kind of ending for every kind of trouble."""

import sys
from collections.abc import Callable

from . import processes
from .progress import Failed, refuse, say

INTERRUPTED = 130


def carry_out(work: Callable[[], int | None]) -> None:
    """Does the work and ends the process with its exit code, after everything it started has been stopped."""
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
