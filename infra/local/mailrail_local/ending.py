"""This file ends servers, because a run has to end them and so does the guard of a run that was killed."""

import os
import signal
import subprocess
from collections.abc import Sequence

from .root import as_root

# MiniStack writes its state to disk when it is asked to stop.
STOP_SECONDS_MAX = 20.0


def run_stop_command(command: Sequence[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=STOP_SECONDS_MAX, check=False)


def end_group(group: int) -> None:
    """Kills whatever is left of a process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        subprocess.run(as_root(["kill", "-KILL", "--", f"-{group}"]), stderr=subprocess.DEVNULL, check=False)
