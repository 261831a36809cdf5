"""The whole local stack of one run: emulator, deployed template and mail servers, and the file that describes them."""

import fcntl
import hashlib
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import accounts, exchange, mail_servers, ministack, packages, ports, root
from .deploy import STACK, deploy
from .functions import Archive
from .mail_servers import MailServers
from .ministack import MiniStack
from .paths import FUNCTIONS, run_folder
from .processes import Processes, remove
from .progress import Failed, step


@dataclass(frozen=True)
class Wish:
    """What a run wants of its stack."""

    # The run's folder under `.local`; two runs of one name cannot be at once.
    name: str
    archives: list[Archive]
    keep: bool = False
    with_old_imap: bool = False
    with_exchange: bool = False
    # Addresses, by function, that take the function's invocations instead of its deployed code.
    proxies: dict[str, str] | None = None
    retry_gap_seconds: int = 2
    rust_log: str = "info"


@dataclass(frozen=True)
class Stack:
    folder: Path
    aws: MiniStack
    outputs: dict[str, str]
    mail: MailServers
    # Where the test servers of Exchange are, by name.
    exchange: dict[str, str]
    console_url: str
    console_token: str
    description: Path


@contextmanager
def up(wish: Wish) -> Iterator[tuple[Stack, Processes]]:
    """Brings the stack up, and takes it down whatever happens in between."""
    packages.ensure(packages.MAIL_SERVERS + packages.TOOLS + (packages.OLD_IMAP_SERVER if wish.with_old_imap else []))
    # Postfix runs its processes under several accounts, so only root can start it.
    root.need("sudo --validate")
    folder = run_folder(wish.name)
    with _only_run(folder, wish.name), mail_servers_home(folder, wish) as mail_folder, Processes() as processes:
        chosen = ports.choose(["aws", *exchange.EXAMPLES, *mail_servers.PORT_NAMES], folder / "ports.json")
        token = _token(folder)
        with step("mail servers: Dovecot and Postfix" + (" and GNU imap4d" if wish.with_old_imap else "")):
            mail = mail_servers.start(processes, mail_folder, chosen, wish.with_old_imap)
        servers: dict[str, str] = {}
        if wish.with_exchange:
            exchange.build()
            with step("test servers of Exchange"):
                servers = exchange.start(processes, folder, chosen, mail.certificates)
        with step("AWS: MiniStack with infra/template.yaml"):
            aws = ministack.start(processes, folder / "ministack", chosen["aws"], wish.keep, wish.proxies)
            outputs = deploy(aws, wish.archives, _parameters(wish, mail, token, servers.get("exchange-online")))
        # In a path, since nothing but AWS resolves the host name that the API has there.
        console_url = f"{aws.url}/_aws/execute-api/{outputs['ConsoleApiId']}"
        stack = Stack(folder, aws, outputs, mail, servers, console_url, token, folder / "stack.json")
        stack.description.write_text(json.dumps(_described(stack), indent=2) + "\n")
        stack.description.chmod(0o600)
        yield stack, processes


@contextmanager
def mail_servers_home(folder: Path, wish: Wish) -> Iterator[Path]:
    if not wish.keep:
        _forget(folder)
    with mail_servers.home(folder, wish.keep) as home:
        yield home


@contextmanager
def _only_run(folder: Path, name: str) -> Iterator[None]:
    with (folder.parent / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(
                f"another `{name}` is running in this checkout; stop it with Ctrl-C in its terminal first"
            ) from None
        yield


def _forget(folder: Path) -> None:
    for entry in folder.iterdir():
        remove(entry)


def _token(folder: Path) -> str:
    """The bearer token of the console, kept as long as the state that knows its hash."""
    kept = folder / "console-token"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(32))
    return kept.read_text()


def _parameters(wish: Wish, mail: MailServers, token: str, exchange_online_url: str | None) -> dict[str, str]:
    return {
        "ConsoleTokenSha256": hashlib.sha256(token.encode()).hexdigest(),
        "Deployment": "local",
        "InternalHosts": "allow",
        "ExtraCaPem": mail.certificates.ca.read_text(),
        "ExchangeOnlineUrl": exchange_online_url or "",
        "RetryGapSeconds": str(wish.retry_gap_seconds),
        "PollingIntervalMinutes": "1",
        "LogRetentionDays": "1",
        "RustLog": wish.rust_log,
    }


def _described(stack: Stack) -> dict[str, Any]:
    """Everything that a test needs to find its way, in `stack.json`."""
    mail = stack.mail
    old = mail.imap4d
    return {
        "aws": {
            "url": stack.aws.url,
            "region": ministack.REGION,
            **{key.lower(): value for key, value in ministack.CREDENTIALS.items()},
        },
        "console": {"url": stack.console_url, "token": stack.console_token},
        "outputs": stack.outputs,
        "functions": {name: f"{STACK}-{name}" for name in FUNCTIONS},
        "mail": {
            "host": "localhost",
            "ca_pem": str(mail.certificates.ca),
            "accounts": {
                "count": accounts.COUNT,
                "address": f"u0001@{accounts.DOMAIN}",
                "password": accounts.account(1).password,
            },
            "imap": mail.dovecot.ports["imap"],
            "imaps": mail.dovecot.ports["imaps"],
            "pop3": mail.dovecot.ports["pop3"],
            "pop3s": mail.dovecot.ports["pop3s"],
            "lmtp": mail.dovecot.ports["lmtp"],
            "submission": mail.postfix.ports["submission"],
            "submissions": mail.postfix.ports["submissions"],
            "mx": mail.postfix.ports["mx"],
            "store": str(mail.dovecot.mail),
            # Signs an access token for XOAUTH2: a JWT with the claims `sub`, the address, and `exp`.
            "xoauth2_hs256_key": mail.dovecot.jwt_key,
            "log": str(mail.dovecot.folder / "dovecot.log"),
        },
        "old_imap": None
        if old is None
        else {"imap": old.ports["old-imap"], "imaps": old.ports["old-imaps"], "store": str(old.mail)},
        **{name.replace("-", "_"): {"url": url} for name, url in stack.exchange.items()},
        "contracts": exchange.contracts() if stack.exchange else None,
        # The interpreter that has the packages of requirements.txt.
        "python": sys.executable,
        "logs": {"aws": str(stack.aws.log), "smtp": str(mail.postfix.folder / "mail.log")},
    }
