"""This file starts all mail servers of a run in one folder, because their own accounts must be able to reach it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import certificates, dovecot, imap4d, postfix
from .certificates import Certificates
from .dovecot import Dovecot
from .imap4d import Imap4d
from .postfix import Postfix
from .processes import Processes, remove
from .progress import Failed, say

PORT_NAMES = [*dovecot.PORT_NAMES, *postfix.PORT_NAMES, *imap4d.PORT_NAMES]
# A Unix socket's path has at most 107 bytes, and Dovecot adds up to 40 of its own.
FOLDER_BYTES_MAX = 60


@dataclass(frozen=True)
class MailServers:
    certificates: Certificates
    dovecot: Dovecot
    postfix: Postfix
    imap4d: Imap4d | None


def start(
    processes: Processes, folder: Path, chosen: dict[str, int], with_old_imap: bool, with_compression: bool
) -> MailServers:
    certified = certificates.make(folder / "tls")
    dovecot_ports, postfix_ports, imap4d_ports = (
        {name: chosen[name] for name in names} for names in (dovecot.PORT_NAMES, postfix.PORT_NAMES, imap4d.PORT_NAMES)
    )
    dovecot_server = dovecot.start(processes, folder / "dovecot", certified, dovecot_ports, with_compression)
    postfix_server = postfix.start(processes, folder / "postfix", certified, dovecot_server, postfix_ports)
    old = imap4d.start(processes, folder / "imap4d", certified, imap4d_ports) if with_old_imap else None
    return MailServers(certified, dovecot_server, postfix_server, old)


@contextmanager
def home(run: Path, keep: bool) -> Iterator[Path]:
    """A folder that the servers' own accounts can reach: in the run's folder, or a temporary one elsewhere."""
    inside = run / "mail"
    obstacle = _obstacle(inside)
    if obstacle is None:
        inside.mkdir(exist_ok=True)
        inside.chmod(0o755)
        yield inside
        return
    if keep:
        raise Failed(
            f"{obstacle}, so the mail servers' files cannot be kept there; leave out --keep, or move the checkout"
        )
    outside = Path(tempfile.mkdtemp(prefix="mailrail-"))
    outside.chmod(0o755)
    say(f"  {obstacle}: the mail servers' files are in {outside} until the end of this run")
    try:
        yield outside
    finally:
        remove(outside)


def _obstacle(folder: Path) -> str | None:
    if len(os.fsencode(folder)) > FOLDER_BYTES_MAX:
        return f"the path {folder} is too long for a Unix socket"
    for parent in folder.parents:
        if parent.stat().st_mode & 0o001 == 0:
            return f"{parent} is closed to the accounts that mail servers run under"
    return None
