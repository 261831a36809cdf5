"""Uses a mailbox through the test server as other people's programs do, and prints what it saw as JSON.

Arguments: CA.pem PORT ADDRESS USER PASSWORD RECIPIENT ACCESS, where ACCESS is `impersonation` or `delegate`. The settings
of Autodiscover are asked for as well.
"""

import json
import sys

import requests
from exchangelib import (
    BASIC,
    DELEGATE,
    IMPERSONATION,
    Account,
    Build,
    Configuration,
    Credentials,
    Message,
    Version,
)
from exchangelib.autodiscover.protocol import AutodiscoverProtocol
from exchangelib.protocol import BaseProtocol

CA, PORT, ADDRESS, USER, PASSWORD, RECIPIENT, ACCESS = sys.argv[1:]
HOST = f"https://localhost:{PORT}"


class Trusting(requests.adapters.HTTPAdapter):
    """Trusts the authority of the test alone."""

    def cert_verify(self, conn, url, verify, cert):
        super().cert_verify(conn, url, CA, cert)

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        return super().get_connection_with_tls_context(request, CA, proxies, cert)


BaseProtocol.HTTP_ADAPTER_CLS = Trusting


def main():
    credentials = Credentials(USER, PASSWORD)
    version = Version(build=Build(15, 2, 1544, 4))
    found = AutodiscoverProtocol(
        config=Configuration(
            service_endpoint=f"{HOST}/autodiscover/autodiscover.svc",
            credentials=credentials,
            auth_type=BASIC,
            version=version,
        )
    ).get_user_settings(user=ADDRESS)
    configuration = Configuration(
        service_endpoint=f"{HOST}/EWS/Exchange.asmx", credentials=credentials, auth_type=BASIC, version=version
    )
    account = Account(
        primary_smtp_address=ADDRESS,
        config=configuration,
        autodiscover=False,
        access_type=IMPERSONATION if ACCESS == "impersonation" else DELEGATE,
    )
    listed = [
        {"subject": item.subject, "message_id": item.message_id, "size": item.size}
        for item in account.inbox.all().only("subject", "message_id", "size", "datetime_received")
    ]
    first = account.inbox.all().only("mime_content", "subject").order_by("datetime_received")[0]
    Message(account=account, folder=account.sent, subject="From another client", body="Text", to_recipients=[RECIPIENT]).send_and_save()
    sent = [item.subject for item in account.sent.all().only("subject")]
    synchronized = [change for change, _ in account.inbox.sync_items(only_fields=["subject"])]
    moved = account.inbox.filter(subject=listed[-1]["subject"]).get()
    moved.move(account.trash)
    deleted = account.inbox.filter(subject=listed[-2]["subject"]).get()
    deleted.delete()
    after = [change for change, _ in account.inbox.sync_items(only_fields=["subject"], sync_state=account.inbox.item_sync_state)]
    print(
        json.dumps(
            {
                "location": found.ews_url,
                "listed": listed,
                "mime": first.mime_content.decode(),
                "sent": sent,
                "synchronized": synchronized,
                "after": after,
                "left": account.inbox.all().count(),
                "trash": [item.subject for item in account.trash.all().only("subject")],
            }
        )
    )


main()
