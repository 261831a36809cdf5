"""This file brings the whole local stack up and down, because every command but one needs the same servers."""

import fcntl
import hashlib
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import accounts, exchange, mail_servers, ministack, ports, root
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

    # The run's folder in `.local`. Two runs of the same name cannot be up at once.
    name: str
    archives: list[Archive]
    keep: bool = False
    # The old IMAP server and the test servers of Exchange, which only the tests need.
    with_test_servers: bool = False
    # COMPRESS=DEFLATE over IMAP, which only mbsync uses.
    with_compression: bool = False
    # Addresses that get the invocations of these functions instead of the deployed code.
    proxies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    folder: Path
    aws: MiniStack
    outputs: dict[str, str]
    mail: MailServers
    # The addresses of the test servers of Exchange, by name.
    exchange: dict[str, str]
    console_url: str
    console_token: str
    description: Path


@contextmanager
def up(wish: Wish) -> Iterator[tuple[Stack, Processes]]:
    """Brings the stack up, and takes it down whatever happens in between."""
    # Postfix runs its processes under several accounts, so only root can start it.
    root.need("sudo --validate")
    folder = run_folder(wish.name)
    with _only_run(folder, wish.name), _mail_servers_home(folder, wish) as mail_folder, Processes() as processes:
        chosen = ports.choose(["aws", *exchange.EXAMPLES, *mail_servers.PORT_NAMES], folder / "ports.json")
        token = _token(folder)
        with step("mail servers: Dovecot and Postfix" + (" and GNU imap4d" if wish.with_test_servers else "")):
            mail = mail_servers.start(processes, mail_folder, chosen, wish.with_test_servers, wish.with_compression)
        servers: dict[str, str] = {}
        if wish.with_test_servers:
            exchange.build()
            with step("test servers of Exchange"):
                servers = exchange.start(processes, folder, chosen, mail.certificates)
        with step("AWS: MiniStack with infra/template.yaml"):
            aws = ministack.start(processes, folder / "ministack", chosen["aws"], wish.keep, wish.proxies)
            outputs = deploy(aws, wish.archives, _parameters(mail, token, servers.get("exchange-online", "")))
        # The API is addressed in the path, because only AWS resolves the host name of an API.
        console_url = f"{aws.url}/_aws/execute-api/{outputs['ConsoleApiId']}"
        stack = Stack(folder, aws, outputs, mail, servers, console_url, token, folder / "stack.json")
        stack.description.write_text(json.dumps(_described(stack), indent=2) + "\n")
        stack.description.chmod(0o600)
        yield stack, processes


@contextmanager
def _mail_servers_home(folder: Path, wish: Wish) -> Iterator[Path]:
    if not wish.keep:
        for entry in folder.iterdir():
            remove(entry)
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


def _token(folder: Path) -> str:
    """The bearer token of the console, which is kept as long as the state that knows its hash."""
    kept = folder / "console-token"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(32))
    return kept.read_text()


def _parameters(mail: MailServers, token: str, exchange_online_url: str) -> dict[str, str]:
    return {
        "ConsoleTokenSha256": hashlib.sha256(token.encode()).hexdigest(),
        "Deployment": "local",
        "InternalHosts": "allow",
        "ExtraCaPem": mail.certificates.ca.read_text(),
        "ExchangeOnlineUrl": exchange_online_url,
        # Short, so that ten tries take seconds here and not the hour that they take on AWS.
        "RetryGapSeconds": "2",
        "PollingIntervalMinutes": "1",
        "LogRetentionDays": "1",
    }


def _described(stack: Stack) -> dict[str, Any]:
    """The content of `stack.json`: everything that a test has to know about the stack."""
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
                "address": accounts.account(1).address,
                "password": accounts.account(1).password,
            },
            **mail.dovecot.ports,
            **mail.postfix.ports,
            "store": str(mail.dovecot.mail),
            # Signs an access token for XOAUTH2: a JWT with the claims `sub`, the address, and `exp`.
            "xoauth2_hs256_key": mail.dovecot.jwt_key,
        },
        "old_imap": None
        if old is None
        else {"imap": old.ports["old-imap"], "imaps": old.ports["old-imaps"], "store": str(old.mail)},
        **{name.replace("-", "_"): {"url": url} for name, url in stack.exchange.items()},
        "contracts": exchange.contracts(),
        # The interpreter that has the packages of requirements.txt.
        "python": sys.executable,
    }
