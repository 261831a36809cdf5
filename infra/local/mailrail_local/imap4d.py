"""This file runs GNU imap4d, because Mailrail must also read servers without CONDSTORE, UIDPLUS and MOVE."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import accounts, ports
from .certificates import Certificates
from .processes import Processes, server_program
from .progress import Failed

PORT_NAMES = ["old-imap", "old-imaps"]
# Hashing a password takes time, and the tests of this server need only a few accounts.
ACCOUNTS = 40
SESSIONS_MAX = 50
HASH_SECONDS_MAX = 60


@dataclass(frozen=True)
class Imap4d:
    folder: Path
    ports: dict[str, int]

    @property
    def mail(self) -> Path:
        """One folder per account, named by its local part, each with the Maildir `INBOX`."""
        return self.folder / "mail"


def start(processes: Processes, folder: Path, certificates: Certificates, chosen: dict[str, int]) -> Imap4d:
    server = Imap4d(folder, chosen)
    owner = accounts.mail_owner()
    people = accounts.everybody()[:ACCOUNTS]
    (folder / "passwords").mkdir(parents=True, exist_ok=True)
    lines = []
    for one, hashed in zip(people, _hashed([one.password for one in people]), strict=True):
        home = server.mail / one.name
        for part in ("cur", "new", "tmp"):
            (home / "INBOX" / part).mkdir(parents=True, exist_ok=True)
        lines.append(f"{one.name}:{hashed}:{owner.pw_uid}:{owner.pw_gid}:{one.name}:{home}:/bin/sh\n")
    (folder / "passwords" / accounts.DOMAIN).write_text("".join(lines))
    if os.geteuid() == 0:
        for path in (server.mail, *server.mail.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    configuration = folder / "imap4d.conf"
    configuration.write_text(_configuration(server, certificates))
    service = processes.start(
        "imap4d",
        [
            server_program("imap4d"),
            "--no-config",
            f"--config-file={configuration}",
            "--foreground",
            f"--daemon={SESSIONS_MAX}",
        ],
        folder / "imap4d.log",
    )
    service.wait_until(lambda: all(map(ports.answers, chosen.values())))
    return server


def _hashed(passwords: list[str]) -> list[str]:
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input="\n".join(passwords) + "\n",
        capture_output=True,
        text=True,
        timeout=HASH_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"openssl passwd failed: {done.stderr.strip()}")
    return done.stdout.split()


def _configuration(server: Imap4d, certificates: Certificates) -> str:
    return f"""\
server {ports.LOOPBACK}:{server.ports["old-imap"]} {{
  tls-mode ondemand;
}};
server {ports.LOOPBACK}:{server.ports["old-imaps"]} {{
  tls-mode connection;
}};
tls {{
  ssl-certificate-file {certificates.certificate};
  ssl-key-file {certificates.key};
}};
pidfile {server.folder}/imap4d.pid;
login-disabled no;
logging {{
  syslog no;
  facility mail;
}};
auth {{
  authorization virtdomain;
  authentication generic;
}};
virtdomain {{
  passwd-dir {server.folder}/passwords;
}};
mailbox {{
  mailbox-type maildir;
  mailbox-pattern "maildir:{server.mail}/${{user}}/INBOX";
}};
namespace personal {{
  prefix "" {{
    directory "$home";
    delimiter /;
    mailbox-type maildir;
  }};
}};
"""
