"""This file runs commands as root, because apt-get and Postfix need root's rights."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from .progress import Failed


def as_root(command: Sequence[str]) -> list[str]:
    """The command itself in a session of root, and the command through sudo in any other session."""
    return list(command) if os.geteuid() == 0 else ["sudo", "-n", *command]


def need(by_hand: str) -> None:
    """Makes sure that `as_root` works; sudo may ask for a password here, and only here."""
    if os.geteuid() == 0:
        return
    if shutil.which("sudo") is None:
        raise Failed(f"this needs root's rights, and there is no sudo; run this as root: {by_hand}")
    if subprocess.run(["sudo", "--validate"], check=False).returncode != 0:
        raise Failed(f"sudo refused; run this first, and then this command again: {by_hand}")
