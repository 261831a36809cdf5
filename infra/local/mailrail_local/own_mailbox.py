"""This file synchronizes the user's own mailbox, because made-up mail shows less than real mail does."""

import getpass
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .console import Console, Json
from .demonstration import DELIVERIES, described, heading, seen
from .progress import Failed, say, wait_for
from .stack import Stack

PASSWORD_VARIABLE = "MAILRAIL_PASSWORD"
SYNC_SECONDS_MAX = 300.0
EMAILS_SHOWN = 20

EXAMPLE = """\
  [profile]
  name = "My provider"
  owner_address = "me@example.org"
  incoming = { protocol = "imap", host = "imap.example.org", port = 993, security = "tls" }
  outgoing = { host = "smtp.example.org", port = 587, security = "starttls" }
  credentials = "mailbox"
  authentication = "password"
  process_emails_received_after = "2026-01-01T00:00:00Z"

  [mailbox]
  name = "Me"
  address = "me@example.org"
  username = "me@example.org"
  incoming_email = "server-side-synchronization"
  outgoing_email = "none"
"""


@dataclass(frozen=True)
class OwnMailbox:
    profile: Json
    mailbox: Json


def read(file: Path) -> OwnMailbox:
    """Reads the file, and takes the password from elsewhere, because a file is too easily given away."""
    try:
        content = json.loads(file.read_text()) if file.suffix == ".json" else tomllib.loads(file.read_text())
        profile, mailbox = dict(content["profile"]), dict(content["mailbox"])
    except (OSError, ValueError, KeyError, TypeError) as unreadable:
        raise Failed(
            f"{file} is not a profile: {unreadable!r}. It should be TOML, or the same as .json:\n\n{EXAMPLE}"
        ) from None
    if "password" in profile or "password" in mailbox:
        raise Failed(f"{file} holds a password; take it out and give it in {PASSWORD_VARIABLE}, or when asked")
    holder = profile if profile.get("credentials") == "profile" else mailbox
    holder["password"] = os.environ.get(PASSWORD_VARIABLE) or getpass.getpass(f"password of {mailbox.get('address')}: ")
    return OwnMailbox(profile, mailbox)


def synchronize(stack: Stack, own: OwnMailbox) -> None:
    console = Console(stack.console_url, stack.console_token)
    heading(f"Your mailbox {own.mailbox['address']}")
    mailbox = _find_or_create(console, own)
    console.post(f"/v1/mailboxes/{mailbox}/deliveries/incoming-email/run")

    def synchronized() -> Json | None:
        delivery = console.get(f"/v1/mailboxes/{mailbox}")["deliveries"]["incoming-email"]
        if not delivery["enabled"]:
            raise Failed(f"incoming email was disabled, {delivery['status']}:\n{_alerts(console)}")
        return delivery if delivery.get("last_success") else None

    delivery = wait_for("the first synchronization", synchronized, SYNC_SECONDS_MAX, f"read {stack.aws.log}")
    seen(f"synchronized at {delivery['last_success']}")
    emails = console.all(f"/v1/mailboxes/{mailbox}/emails")
    seen(f"{len(emails)} email records" + (f"; the first {EMAILS_SHOWN}:" if len(emails) > EMAILS_SHOWN else ""))
    for email in emails[:EMAILS_SHOWN]:
        say(f"      {email['received_at']}  {described(email)}")


def _find_or_create(console: Console, own: OwnMailbox) -> str:
    known = [one["id"] for one in console.all("/v1/mailboxes") if one["address"] == own.mailbox["address"]]
    if known:
        seen("an earlier run has created this mailbox; it is used as it is")
        return str(known[0])
    profile = console.post("/v1/profiles", own.profile)
    mailbox = console.post(
        "/v1/mailboxes", {**own.mailbox, "profile_id": profile["id"], "appointments_contacts_tasks": "none"}
    )
    console.approve([mailbox["id"]])
    methods = {name: mailbox[name.replace("-", "_")] for name in DELIVERIES}
    console.enable(mailbox["id"], [name for name, method in methods.items() if method != "none"])
    seen("the profile and the mailbox are created, its address is approved, and its deliveries are enabled")
    return str(mailbox["id"])


def _alerts(console: Console) -> str:
    return "\n".join("    " + json.dumps(alert) for alert in console.all("/v1/alerts", status="open"))
