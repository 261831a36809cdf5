"""This file installs Debian packages, because the mail servers and their tools come from Debian."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import root
from .progress import Failed, say, step
from .root import as_root

MAIL_SERVERS = ["dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd", "postfix", "postfix-pcre"]
TOOLS = ["binutils", "openssl"]
OLD_IMAP_SERVER = ["mailutils-imap4d"]
LINKER = ["gcc", "libc6-dev"]
NPM = ["nodejs", "npm"]
XML_VALIDATOR = ["libxml2-utils"]
# The programs that the bench compares Mailrail with.
PEERS = ["isync", "mpop"]
# The services that Debian would start with the machine, and their packages.
SERVICES = {"dovecot": "dovecot-core", "postfix": "postfix", "mailutils-imap4d": "mailutils-imap4d"}

APT_SECONDS_MAX = 600
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(wanted: list[str]) -> list[str]:
    if not wanted or shutil.which("dpkg-query") is None:
        return wanted
    command = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [package for package in wanted if f"{package} installed" not in shown]


def install(wanted: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
    by_hand = " ".join(command)
    if shutil.which("apt-get") is None:
        raise Failed(
            f"this machine has no apt-get; use a Debian 12 or Ubuntu machine or container, where `{by_hand}` "
            "installs these packages"
        )
    with step("Debian packages: installing"):
        root.need(by_hand)
        # Without this, Postfix's installer asks what kind of mail site this is.
        subprocess.run(
            as_root(["debconf-set-selections"]),
            input="postfix postfix/main_mailer_type select No configuration\n",
            text=True,
            check=True,
        )
        with _servers_not_started():
            _apt(["apt-get", "update"], by_hand)
            _apt(command, by_hand)
        _disable_system_services(wanted)


def _apt(command: list[str], by_hand: str) -> None:
    quiet = as_root(["env", "DEBIAN_FRONTEND=noninteractive", *command, "-qq", "-o", "DPkg::Lock::Timeout=120"])
    try:
        done = subprocess.run(
            quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=APT_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"apt-get took more than {APT_SECONDS_MAX} s; install by hand: {by_hand}") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} failed; run it by hand to see why:\n{(done.stdout + done.stderr).strip()}")


@contextmanager
def _servers_not_started() -> Iterator[None]:
    """Keeps Debian from starting a server when it installs one; ours have their own configurations and ports."""
    if POLICY.exists():
        yield
        return
    text = "#!/bin/sh\nexit 101\n"
    subprocess.run(as_root(["tee", str(POLICY)]), input=text, text=True, stdout=subprocess.DEVNULL, check=True)
    subprocess.run(as_root(["chmod", "755", str(POLICY)]), check=True)
    try:
        yield
    finally:
        subprocess.run(as_root(["rm", "-f", str(POLICY)]), check=False)


def _disable_system_services(installed: list[str]) -> None:
    """Keeps the servers that were just installed from starting with the machine."""
    services = [service for service, package in SERVICES.items() if package in installed]
    if not services or not Path("/run/systemd/system").exists():
        return
    subprocess.run(as_root(["systemctl", "disable", "--now", *services]), capture_output=True, check=False)
    say(f"  these services of the system are disabled; systemctl enables them: {', '.join(services)}")
