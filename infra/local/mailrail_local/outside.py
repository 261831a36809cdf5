"""This file sends and reads mail as people do, because the demonstration shows what they see of Mailrail."""

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


def write(servers: MailServers, sender: str, to: Account, subject: str, text: str) -> None:
    """Hands one message to the server that takes mail for the domain."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to.address
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="elsewhere.test")
    message.set_content(text)
    with smtplib.SMTP(HOST, servers.postfix.ports["mx"], timeout=CALL_SECONDS_MAX) as server:
        server.send_message(message)


def find(servers: MailServers, reader: Account, wanted: Callable[[EmailMessage], bool]) -> EmailMessage | None:
    """The newest message in the reader's inbox that is `wanted`."""
    trust = ssl.create_default_context(cafile=str(servers.certificates.ca))
    with imaplib.IMAP4_SSL(HOST, servers.dovecot.ports["imaps"], ssl_context=trust, timeout=CALL_SECONDS_MAX) as server:
        server.login(reader.address, reader.password)
        server.select("INBOX", readonly=True)
        numbers = server.search(None, "ALL")[1][0].split()
        for number in reversed(numbers):
            fetched = server.fetch(number, "(BODY.PEEK[])")[1][0]
            if not isinstance(fetched, tuple):
                # The message has gone since the search.
                continue
            message = email.message_from_bytes(fetched[1], _class=EmailMessage, policy=default)
            if wanted(message):
                return message
    return None


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    return body.get_content().strip() if body else "(no text)"
