"""This file runs mbsync and mpop, because Mailrail is compared with them at the same work.

Each peer has the settings that make it fast: it takes new messages only, does not wait for the disk, and knows
beforehand how to sign in.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..accounts import Account
from ..certificates import Certificates
from ..processes import tail
from ..progress import Failed


@dataclass(frozen=True)
class Cost:
    """What programs took: seconds of the clock, seconds of CPU, and the peak memory of the largest."""

    wall: float
    processor: float
    peak_kilobytes: int


def run(command: Sequence[str], log: Path) -> Cost:
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{command[0]} failed; its messages end:\n{tail(log)}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss)


def run_together(commands: Sequence[Sequence[str]], at_once: int, log: Path) -> Cost:
    started = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        logs = [log.with_suffix(f".{number}.log") for number in range(len(commands))]
        costs = list(pool.map(run, commands, logs))
    peak = max(cost.peak_kilobytes for cost in costs)
    return Cost(time.monotonic() - started, sum(cost.processor for cost in costs), peak)


class Mbsync:
    """mbsync, which takes one mailbox after another, or one process for each, of which ten run at once."""

    AT_ONCE = 10

    def __init__(
        self, folder: Path, people: list[Account], port: int, certificates: Certificates, compress: bool, together: bool
    ) -> None:
        self._folder = folder
        self._people = people
        self._together = together
        folder.mkdir(parents=True)
        self._rc = folder / "mbsyncrc"
        extension = "" if compress else "DisableExtension COMPRESS=DEFLATE\n"
        text = "FSync no\n\n"
        for one in people:
            text += f"""\
IMAPAccount {one.name}
Host localhost
Port {port}
User {one.address}
Pass {one.password}
AuthMechs LOGIN
SSLType IMAPS
SystemCertificates no
CertificateFile {certificates.ca}
{extension}
IMAPStore {one.name}-far
Account {one.name}

MaildirStore {one.name}-near
Inbox {folder}/{one.name}

Channel {one.name}
Far :{one.name}-far:
Near :{one.name}-near:
Sync PullNew
Create Near
SyncState *

"""
        self._rc.write_text(text)
        self._rc.chmod(0o600)

    def run(self) -> Cost:
        command = ["mbsync", "--quiet", "--config", str(self._rc)]
        names = [one.name for one in self._people]
        log = self._folder / "mbsync.log"
        if self._together:
            return run_together([[*command, name] for name in names], self.AT_ONCE, log)
        return run([*command, *names], log)

    def messages(self) -> int:
        return _files(self._folder)


class Mpop:
    """mpop for one maildrop, whose messages it leaves there."""

    def __init__(self, folder: Path, person: Account, port: int, certificates: Certificates) -> None:
        self._folder = folder
        for part in ("cur", "new", "tmp"):
            (folder / "inbox" / part).mkdir(parents=True)
        self._rc = folder / "mpoprc"
        self._rc.write_text(f"""\
account bench
host localhost
port {port}
user {person.address}
password {person.password}
auth user
tls on
tls_starttls off
tls_trust_file {certificates.ca}
keep on
uidls_file {folder}/uidls
delivery maildir {folder}/inbox
received_header off
""")
        self._rc.chmod(0o600)

    def run(self) -> Cost:
        return run(["mpop", "--file", str(self._rc), "--quiet", "bench"], self._folder / "mpop.log")

    def messages(self) -> int:
        return _files(self._folder)


def _files(folder: Path) -> int:
    """The number of messages in the Maildirs below a folder."""
    return sum(1 for path in folder.rglob("*") if path.parent.name in ("cur", "new") and path.is_file())
