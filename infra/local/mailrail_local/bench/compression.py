"""COMPRESS=DEFLATE on the mail server: mbsync uses it where it is offered, so it is measured with and without."""

import imaplib
import shutil
import ssl
import subprocess
from pathlib import Path

from ..mail_servers import MailServers
from ..progress import Failed, wait_for

PLUGINS = "protocol imap {\n  mail_plugins = zlib imap_zlib\n}\n"
RELOAD_SECONDS_MAX = 15.0


def offer(mail: MailServers, address: str, password: str) -> None:
    configuration = mail.dovecot.folder / "dovecot.conf"
    configuration.write_text(configuration.read_text() + PLUGINS)
    # Debian keeps servers' tools where only root's PATH looks, and some other places do not.
    program = shutil.which("doveadm") or "/usr/bin/doveadm"
    reloaded = subprocess.run(
        [program, "-c", str(configuration), "reload"], capture_output=True, text=True, check=False
    )
    if reloaded.returncode != 0:
        raise Failed(f"Dovecot could not be told to offer COMPRESS: {reloaded.stderr.strip()}")
    wait_for(
        "Dovecot to offer COMPRESS",
        lambda: _is_offered(mail.dovecot.ports["imaps"], mail.certificates.ca, address, password),
        RELOAD_SECONDS_MAX,
        f"read {mail.dovecot.folder / 'dovecot.log'}",
    )


def _is_offered(port: int, authority: Path, address: str, password: str) -> bool:
    tls = ssl.create_default_context(cafile=str(authority))
    try:
        with imaplib.IMAP4_SSL("localhost", port, ssl_context=tls, timeout=RELOAD_SECONDS_MAX) as session:
            session.login(address, password)
            _, capabilities = session.capability()
    except (imaplib.IMAP4.error, OSError):
        # Its listeners are being exchanged.
        return False
    return b"COMPRESS=DEFLATE" in capabilities[0].split()
