"""The world outside Mailrail: somebody who writes to example.test, and somebody there with a mail program."""

import email
import imaplib
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import default
from email.utils import formatdate, make_msgid

from .accounts import Account
from .mail_servers import MailServers

CALL_SECONDS_MAX = 15
HOST = "localhost"


def write(servers: MailServers, sender: str, to: list[Account], subject: str, text: str) -> None:
    """One message to all of them, handed to the domain's MX."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(one.address for one in to)
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="elsewhere.test")
    message.set_content(text)
    with smtplib.SMTP(HOST, servers.postfix.ports["mx"], timeout=CALL_SECONDS_MAX) as server:
        server.send_message(message)


def find(servers: MailServers, reader: Account, wanted: Callable[[EmailMessage], bool]) -> EmailMessage | None:
    """The newest message of the reader's inbox that is wanted."""
    trust = ssl.create_default_context(cafile=str(servers.certificates.ca))
    with imaplib.IMAP4_SSL(HOST, servers.dovecot.ports["imaps"], ssl_context=trust, timeout=CALL_SECONDS_MAX) as server:
        server.login(reader.address, reader.password)
        server.select("INBOX", readonly=True)
        numbers = server.search(None, "ALL")[1][0].split()
        for number in reversed(numbers):
            fetched = server.fetch(number, "(BODY.PEEK[])")[1][0]
            if not isinstance(fetched, tuple):
                # Gone since the search.
                continue
            message = email.message_from_bytes(fetched[1], _class=EmailMessage, policy=default)
            if wanted(message):
                return message
    return None


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    return body.get_content().strip() if body else "(no text)"
