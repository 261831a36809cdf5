"""What Mailrail does, shown one thing after the other through its console, with real mail on real servers."""

import csv
import io
from collections.abc import Iterator
from email.message import EmailMessage

from . import outside
from .accounts import Account, account
from .console import Console, Json
from .ports import ClosedPort
from .progress import Failed, say, wait_for
from .stack import Stack

# A run takes accounts that no earlier run on the same state has used.
ACCOUNTS_PER_RUN = 6
DELIVERIES = ("incoming-email", "outgoing-email")
FAILURES_UNTIL_DISABLED = 10

SYNC_SECONDS_MAX = 60.0
# A test sends a message to its own mailbox and waits for it.
TEST_SECONDS_MAX = 120.0
DISABLE_SECONDS_MAX = 60.0
# Ten tries, two seconds apart, each through the queue.
RETRIES_SECONDS_MAX = 180.0
# notify-owners runs once a minute, and the emulator looks at its schedules every ten seconds.
NOTICE_SECONDS_MAX = 150.0


def run(stack: Stack) -> None:
    Demonstration(stack).run()


class Demonstration:
    """The steps, in order, and the records that later steps need from earlier ones."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.console = Console(stack.console_url, stack.console_token)
        first = _next_accounts(stack)
        self.owner, self.anna, self.ben, self.carl, self.dora, self.desk = (
            account(first + n) for n in range(ACCOUNTS_PER_RUN)
        )
        # Tells this run's profiles and messages from those of earlier runs on the same state.
        self.run_name = f"from {self.owner.name}"
        self.mailboxes: dict[Account, str] = {}
        self.remedy = f"read {stack.aws.log} and the functions' logs"

    def run(self) -> None:
        self.set_up()
        self.receive()
        self.send()
        self.wrong_password()
        self.dead_server(ClosedPort())
        self.summary()

    def set_up(self) -> None:
        heading("Email server profiles and mailboxes")
        self.profile = self.create_profile("Office", self.stack.mail.dovecot.ports["imaps"])
        table = _csv(
            [
                {
                    "name": "Anna",
                    "address": self.anna.address,
                    "profile_id": self.profile,
                    "username": self.anna.address,
                    "password": self.anna.password,
                },
                {
                    "name": "Nobody",
                    "address": "not an address",
                    "profile_id": self.profile,
                    "username": "",
                    "password": "",
                },
                {
                    "name": "Ben",
                    "address": self.ben.address,
                    "profile_id": self.profile,
                    "username": self.ben.address,
                    "password": self.ben.password,
                },
            ]
        )
        result = self.console.import_csv("/v1/mailboxes/import", table)
        seen(f"CSV import: {result['created']} mailboxes created, {len(result['errors'])} line refused")
        for error in result["errors"]:
            detail(f"line {error['line']}, {error['field']}: {error['detail']}")
        expect(result["created"] == 2 and len(result["errors"]) == 1, "two mailboxes imported and one line refused")
        for mailbox in self.console.all("/v1/mailboxes", profile_id=self.profile):
            owner = next(one for one in (self.anna, self.ben) if one.address == mailbox["address"])
            self.mailboxes[owner] = mailbox["id"]
        approved = self.console.approve(list(self.mailboxes.values()))
        expect(len(approved) == 2, "two addresses approved")
        seen("both addresses approved")
        self.console.test(approved)
        for one in (self.anna, self.ben):
            self.show_test(one)
        self.create_mailbox("Service desk", self.desk, self.profile, self.desk.password)
        self.console.patch("/v1/organization", {"notice_mailbox_id": self.mailboxes[self.desk]})
        seen(f"notices are sent by the mailbox of {self.desk.address} to the profiles' owner, {self.owner.address}")

    def receive(self) -> None:
        heading("Incoming email")
        subject = f"Offer 4711 ({self.run_name})"
        outside.write(
            self.stack.mail,
            "Mara Vogt <mara@elsewhere.test>",
            [self.anna, self.ben],
            subject,
            "Our offer, as promised.\n",
        )
        seen("somebody outside wrote one message to Anna and to Ben")
        records = {}
        for reader in (self.anna, self.ben):
            self.wait_until_delivered(reader, subject)
            self.wake(reader, "incoming-email")
            records[reader] = self.wait_for_email(reader, subject)
            seen(f"email record in {reader.address}: {described(records[reader])}")
        same = records[self.anna]["id"] == records[self.ben]["id"]
        expect(same, "one email record for the one message that both received")
        seen(f"both mailboxes show the same record, {records[self.anna]['id']}: one message is one record")

    def send(self) -> None:
        heading("Outgoing email")
        subject = f"Re: Offer 4711 ({self.run_name})"
        draft = self.console.post(
            "/v1/emails",
            {
                "mailbox_id": self.mailboxes[self.anna],
                "to": [self.ben.address],
                "cc": [],
                "bcc": [],
                "subject": subject,
                "text": "Ben, shall we take it?\n\nAnna\n",
            },
        )
        seen(f"email created for Anna: {draft['status']}")
        pending = self.console.post(f"/v1/emails/{draft['id']}/send")
        seen(f"sent through the API: {pending['status']}")
        self.wake(self.anna, "outgoing-email")

        def is_sent() -> Json | None:
            email = self.console.get(f"/v1/emails/{draft['id']}")
            if email["status"] == "failed":
                raise Failed(f"the email became Failed; {self.remedy}")
            return email if email["status"] == "sent" else None

        wait_for("the email to become Sent", is_sent, SYNC_SECONDS_MAX, self.remedy)
        seen("its status is Sent")
        self.wait_until_delivered(self.ben, subject)
        self.wake(self.ben, "incoming-email")
        seen(f"and it arrived with Ben: {described(self.wait_for_email(self.ben, subject))}")

    def wrong_password(self) -> None:
        heading("A wrong password")
        self.create_mailbox("Carl", self.carl, self.profile, "not " + self.carl.password)
        self.wake(self.carl, "incoming-email")
        delivery = self.wait_until_disabled(self.carl, DISABLE_SECONDS_MAX)
        failures = delivery["transient_failure_count"]
        seen(f"Carl's incoming email is disabled at once; transient failures counted: {failures}")
        expect(failures == 0, "no transient failure counted for a wrong password")
        self.show_notice("Carl", self.carl)

    def dead_server(self, closed: ClosedPort) -> None:
        heading("A server that is down")
        profile = self.create_profile("Warehouse", closed.number)
        self.create_mailbox("Dora", self.dora, profile, self.dora.password, outgoing="none")
        self.wake(self.dora, "incoming-email")
        counts: list[int] = []

        def is_disabled() -> bool:
            delivery = self.delivery(self.dora)
            count = delivery["transient_failure_count"]
            if not counts or count != counts[-1]:
                counts.append(count)
                detail(f"transient failures: {count}, {'enabled' if delivery['enabled'] else 'disabled'}")
            return not delivery["enabled"]

        wait_for("the tenth failure", is_disabled, RETRIES_SECONDS_MAX, self.remedy)
        expect(
            counts[-1] == FAILURES_UNTIL_DISABLED, f"disabled at failure {FAILURES_UNTIL_DISABLED}, not at {counts[-1]}"
        )
        expect(counts == sorted(counts) and len(counts) > 2, f"a count that rises: {counts}")
        seen(f"Dora's incoming email is disabled at failure {counts[-1]}")
        self.show_notice("Dora", self.dora)

    def summary(self) -> None:
        heading("What the console knows now")
        people = [self.anna, self.ben, self.carl, self.dora, self.desk]
        rows = []
        for one in people:
            mailbox = self.console.get(f"/v1/mailboxes/{self.mailboxes[one]}")
            emails = self.console.all(f"/v1/mailboxes/{self.mailboxes[one]}/emails")
            rows.append(
                [mailbox["name"], one.address, str(len(emails)), *(state(mailbox, name) for name in DELIVERIES)]
            )
        show_table(["mailbox", "address", "emails", *DELIVERIES], rows)
        alerts = self.console.all("/v1/alerts", status="open")
        notices = self.console.all("/v1/notices", status="sent")
        say()
        say(f"  {len(alerts)} alerts open, {len(notices)} notices sent")
        expect(len(alerts) >= 2 and len(notices) >= 2, "two alerts and two notices")

    # What the steps are made of.

    def show_test(self, who: Account) -> None:
        """Follows Test & Enable to its end, and shows its stages."""
        path = f"/v1/mailboxes/{self.mailboxes[who]}"

        def finished() -> Json | None:
            test = self.console.test_of(self.mailboxes[who])
            return test if test and test["phase"] == "finished" else None

        test = wait_for(f"the test of {who.address}", finished, TEST_SECONDS_MAX, self.remedy)
        for part in test["deliveries"]:
            stages = ", ".join(f"{stage['stage']} {stage['milliseconds']} ms" for stage in part["stages"])
            seen(f"test of {who.address}, {part['delivery']}: {part['status']} ({stages})")
            expect(part["status"] == "success", f"{part['delivery']} of {who.address} to pass its test")
        enabled = self.console.get(path)["deliveries"]
        expect(all(enabled[name]["enabled"] for name in DELIVERIES), "what passed to be enabled")

    def create_profile(self, name: str, imaps_port: int) -> str:
        ports = self.stack.mail.postfix.ports
        profile = self.console.post(
            "/v1/profiles",
            {
                "name": f"{name} ({self.run_name})",
                "owner_address": self.owner.address,
                "incoming": {"protocol": "imap", "host": outside.HOST, "port": imaps_port, "security": "tls"},
                "outgoing": {"host": outside.HOST, "port": ports["submission"], "security": "starttls"},
                "credentials": "mailbox",
                "authentication": "password",
                "minimum_polling_interval_minutes": 0,
                "maximum_concurrent_connections": 10,
            },
        )
        seen(f"email server profile {name}: IMAP on port {imaps_port}, submission on port {ports['submission']}")
        return profile["id"]

    def create_mailbox(
        self, name: str, who: Account, profile: str, password: str, outgoing: str = "server-side-synchronization"
    ) -> None:
        mailbox = self.console.post(
            "/v1/mailboxes",
            {
                "name": name,
                "address": who.address,
                "profile_id": profile,
                "username": who.address,
                "password": password,
                "incoming_email": "server-side-synchronization",
                "outgoing_email": outgoing,
                "appointments_contacts_tasks": "none",
            },
        )
        self.mailboxes[who] = mailbox["id"]
        self.console.approve([mailbox["id"]])
        self.console.enable(mailbox["id"], DELIVERIES if outgoing != "none" else DELIVERIES[:1])
        seen(f"mailbox {name}, {who.address}, approved and enabled")

    def wake(self, who: Account, delivery: str) -> None:
        """Runs the delivery now rather than within a minute."""
        self.console.post(f"/v1/mailboxes/{self.mailboxes[who]}/deliveries/{delivery}/run")

    def delivery(self, who: Account) -> Json:
        return self.console.get(f"/v1/mailboxes/{self.mailboxes[who]}")["deliveries"]["incoming-email"]

    def wait_until_delivered(self, who: Account, subject: str) -> None:
        """Until the mail server has it: waking Mailrail before that would only find the mailbox as it was."""
        wait_for(
            f"the message in {who.address}'s inbox",
            lambda: outside.find(self.stack.mail, who, lambda message: message["Subject"] == subject),
            SYNC_SECONDS_MAX,
            f"read {self.stack.mail.postfix.folder / 'mail.log'}",
        )

    def wait_for_email(self, who: Account, subject: str) -> Json:
        def recorded() -> Json | None:
            emails = self.console.all(f"/v1/mailboxes/{self.mailboxes[who]}/emails")
            return next((one for one in emails if one["subject"] == subject and one["direction"] == "incoming"), None)

        return wait_for(f"the email record in {who.address}", recorded, SYNC_SECONDS_MAX, self.remedy)

    def wait_until_disabled(self, who: Account, seconds_max: float) -> Json:
        def disabled() -> Json | None:
            delivery = self.delivery(who)
            return None if delivery["enabled"] else delivery

        return wait_for(f"{who.address} to be disabled", disabled, seconds_max, self.remedy)

    def show_notice(self, name: str, about: Account) -> None:
        def is_about(message: EmailMessage) -> bool:
            text = outside.text_of(message)
            return name in text or about.address in text

        def arrived() -> EmailMessage | None:
            return outside.find(self.stack.mail, self.owner, is_about)

        notice = wait_for(
            f"the notice about {name} in {self.owner.address}", arrived, NOTICE_SECONDS_MAX, self.remedy, gap_seconds=1
        )
        seen(f"the owner, {self.owner.address}, has the notice: {notice['Subject']}")
        for line in outside.text_of(notice).splitlines():
            detail(f"| {line}")


def _next_accounts(stack: Stack) -> int:
    """The number of the first account of this run."""
    kept = stack.folder / "next-account"
    first = int(kept.read_text()) if kept.exists() else 1
    kept.write_text(str(first + ACCOUNTS_PER_RUN))
    try:
        account(first + ACCOUNTS_PER_RUN - 1)
    except ValueError:
        raise Failed("the kept state has used up all accounts; start afresh by leaving out --keep") from None
    return first


def heading(title: str) -> None:
    say()
    say(title)


def seen(text: str) -> None:
    say(f"  + {text}")


def detail(text: str) -> None:
    say(f"      {text}")


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(f"the demonstration expected {what}")


def described(email: Json) -> str:
    return f'"{email["subject"]}" from {email["from"]}'


def state(mailbox: Json, delivery: str) -> str:
    if mailbox[delivery.replace("-", "_")] == "none":
        return "-"
    known = mailbox["deliveries"][delivery]
    return (
        known["status"] if known["enabled"] else f"disabled after {known['transient_failure_count']} transient failures"
    )


def show_table(titles: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(line[column]) for line in [titles, *rows]) for column in range(len(titles))]
    for line in _lines(titles, rows, widths):
        say("  " + line.rstrip())


def _lines(titles: list[str], rows: list[list[str]], widths: list[int]) -> Iterator[str]:
    yield "  ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True))
    yield "  ".join("-" * width for width in widths)
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _csv(rows: list[dict[str, str]]) -> str:
    table = io.StringIO()
    columns = [*rows[0], "incoming_email", "outgoing_email", "appointments_contacts_tasks"]
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    for row in rows:
        both = "server-side-synchronization"
        writer.writerow({**row, "incoming_email": both, "outgoing_email": both, "appointments_contacts_tasks": "none"})
    return table.getvalue()
