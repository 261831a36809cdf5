"""The Debian packages that the mail servers come from, installed when they are missing."""

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
# An IMAP server without CONDSTORE, UIDPLUS, MOVE and SPECIAL-USE.
OLD_IMAP_SERVER = ["mailutils-imap4d"]

APT_SECONDS_MAX = 600
POLICY = Path("/usr/sbin/policy-rc.d")


def ensure(wanted: list[str]) -> None:
    """Installs what is missing, or says by which command it would be."""
    missing = [package for package in wanted if not _is_installed(package)]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    by_hand = " ".join(command)
    if shutil.which("apt-get") is None:
        raise Failed(
            f"these Debian packages are needed: {' '.join(missing)}. This machine has no apt-get: "
            f"use a Debian 12 or Ubuntu machine or container, where `{by_hand}` installs them"
        )
    with step(f"Debian packages: installing {', '.join(missing)}"):
        root.need(by_hand)
        # Otherwise Postfix's installer asks what kind of mail site this is; ours needs none.
        subprocess.run(
            as_root(["debconf-set-selections"]),
            input="postfix postfix/main_mailer_type select No configuration\n",
            text=True,
            check=True,
        )
        with _servers_not_started():
            _apt(["apt-get", "update"], by_hand)
            _apt(command, by_hand)
        _disable_system_services(missing)


def _is_installed(package: str) -> bool:
    answer = (
        subprocess.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],
            capture_output=True,
            text=True,
            check=False,
        )
        if shutil.which("dpkg-query")
        else None
    )
    return answer is not None and answer.stdout == "installed"


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
    """Debian starts a server as soon as it is installed; ours have configurations and ports of their own."""
    if POLICY.exists():
        yield
        return
    subprocess.run(
        as_root(["tee", str(POLICY)]), input="#!/bin/sh\nexit 101\n", text=True, stdout=subprocess.DEVNULL, check=True
    )
    subprocess.run(as_root(["chmod", "755", str(POLICY)]), check=True)
    try:
        yield
    finally:
        subprocess.run(as_root(["rm", "-f", str(POLICY)]), check=False)


def _disable_system_services(installed: list[str]) -> None:
    """Nor shall they start with the machine, only because this project tested against them."""
    if not Path("/run/systemd/system").exists():
        return
    for service, package in (
        ("dovecot", "dovecot-core"),
        ("postfix", "postfix"),
        ("mailutils-imap4d", "mailutils-imap4d"),
    ):
        if package in installed:
            subprocess.run(as_root(["systemctl", "disable", "--now", service]), capture_output=True, check=False)
    say("  the system's own mail services stay disabled; enable them with systemctl if you want them")
