"""This file shows what Mailrail does, one thing after another, because README promises a look at its main job."""

from email.message import EmailMessage

from . import outside
from .accounts import Account, account
from .console import Console, Json
from .ports import ClosedPort
from .progress import Failed, say, wait_for
from .stack import Stack

INCOMING, OUTGOING = "incoming-email", "outgoing-email"
DELIVERIES = (INCOMING, OUTGOING)
# Each run takes accounts that no earlier run on the same state has used.
ACCOUNTS_PER_RUN = 6
FAILURES_UNTIL_DISABLED = 10

SYNC_SECONDS_MAX = 60.0
# Ten tries take this long at most: they are two seconds apart, and each goes through the queue.
RETRIES_SECONDS_MAX = 180.0
# notify-owners runs once a minute, and the emulator looks at its schedules every ten seconds.
NOTICE_SECONDS_MAX = 150.0


class Demonstration:
    """The steps of the demonstration, and what later steps need to know of earlier ones."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.console = Console(stack.console_url, stack.console_token)
        first = _first_account(stack)
        people = [account(first + number) for number in range(ACCOUNTS_PER_RUN)]
        self.owner, self.anna, self.ben, self.carl, self.dora, self.desk = people
        # This distinguishes profiles and messages of this run from those of earlier runs on the same state.
        self.run_name = f"from {self.owner.name}"
        self.mailboxes: dict[str, str] = {}
        self.remedy = f"read {stack.aws.log} and the functions' logs"

    def run(self) -> None:
        # Nothing listens at this port, and nothing else can take it while this object exists.
        closed = ClosedPort()
        self.set_up(closed)
        self.receive()
        self.send()
        self.wrong_password()
        self.dead_server()

    def set_up(self, closed: ClosedPort) -> None:
        heading("Email server profiles and mailboxes")
        office = self.create_profile("Office", self.stack.mail.dovecot.ports["imaps"])
        warehouse = self.create_profile("Warehouse", closed.number)
        lines = [
            "name,address,profile_id,password",
            f"Anna,{self.anna.address},{office},{self.anna.password}",
            f"Nobody,not an address,{office},",
            f"Ben,{self.ben.address},{office},{self.ben.password}",
            f"Carl,{self.carl.address},{office},not {self.carl.password}",
            f"Dora,{self.dora.address},{warehouse},{self.dora.password}",
            f"Service desk,{self.desk.address},{office},{self.desk.password}",
        ]
        result = self.console.import_csv("/v1/mailboxes/import", "\n".join(lines))
        seen(f"CSV import: {result['created']} mailboxes created, {len(result['errors'])} line refused")
        for error in result["errors"]:
            detail(f"line {error['line']}, {error['field']}: {error['detail']}")
        expect([error["line"] for error in result["errors"]] == [3], "the third line of the CSV to be refused")
        for profile in (office, warehouse):
            for mailbox in self.console.all("/v1/mailboxes", profile_id=profile):
                self.mailboxes[mailbox["address"]] = mailbox["id"]
        self.console.approve(list(self.mailboxes.values()))
        seen(f"{len(self.mailboxes)} addresses approved")
        for one in (self.anna, self.ben, self.desk):
            self.console.enable(self.mailboxes[one.address], DELIVERIES)
        self.console.patch("/v1/organization", {"notice_mailbox_id": self.mailboxes[self.desk.address]})
        seen(f"notices go from {self.desk.address} to the owner of the profiles, {self.owner.address}")

    def receive(self) -> None:
        heading("Incoming email")
        subject = f"Offer 4711 ({self.run_name})"
        outside.write(self.stack.mail, "Mara Vogt <mara@elsewhere.test>", self.anna, subject, "Our offer.\n")
        seen("somebody outside wrote to Anna")
        seen(f"the message is a record now: {described(self.wait_for_email(self.anna, subject))}")

    def send(self) -> None:
        heading("Outgoing email")
        subject = f"Re: Offer 4711 ({self.run_name})"
        email = {
            "mailbox_id": self.mailboxes[self.anna.address],
            "to": [self.ben.address],
            "subject": subject,
            "text": "Ben, shall we take it?\n\nAnna\n",
        }
        draft = self.console.post("/v1/emails", email)
        pending = self.console.post(f"/v1/emails/{draft['id']}/send")
        seen(f"Anna's email to Ben was created and sent through the API; its status is {pending['status']}")
        self.wake(self.anna, OUTGOING)

        def is_sent() -> bool:
            status = self.console.get(f"/v1/emails/{draft['id']}")["status"]
            if status == "failed":
                raise Failed(f"the email could not be sent; {self.remedy}")
            return bool(status == "sent")

        wait_for("the email to be sent", is_sent, SYNC_SECONDS_MAX, self.remedy)
        seen("its status is sent")
        seen(f"it has arrived and is Ben's record too: {described(self.wait_for_email(self.ben, subject))}")

    def wrong_password(self) -> None:
        heading("A wrong password")
        counts = self.fail_until_disabled(self.carl, SYNC_SECONDS_MAX)
        expect(counts == [0], f"Carl's incoming email to be disabled without a transient failure: {counts}")
        seen("Carl's incoming email is disabled at once")
        self.show_notice("Carl")

    def dead_server(self) -> None:
        heading("A server that is down")
        counts = self.fail_until_disabled(self.dora, RETRIES_SECONDS_MAX)
        expect(counts[-1] == FAILURES_UNTIL_DISABLED, f"Dora's incoming email to be disabled at failure 10: {counts}")
        seen(f"Dora's incoming email is disabled at failure {counts[-1]}")
        self.show_notice("Dora")

    def create_profile(self, name: str, imaps_port: int) -> str:
        submission = self.stack.mail.postfix.ports["submission"]
        profile = {
            "name": f"{name} ({self.run_name})",
            "owner_address": self.owner.address,
            "incoming": {"protocol": "imap", "host": outside.HOST, "port": imaps_port, "security": "tls"},
            "outgoing": {"host": outside.HOST, "port": submission, "security": "starttls"},
            "minimum_polling_interval_minutes": 0,
        }
        created = self.console.post("/v1/profiles", profile)
        seen(f"email server profile {name}: IMAP at port {imaps_port}, SMTP at port {submission}")
        return str(created["id"])

    def wake(self, who: Account, delivery: str) -> None:
        """Runs a delivery now, not within a minute."""
        self.console.post(f"/v1/mailboxes/{self.mailboxes[who.address]}/deliveries/{delivery}/run")

    def wait_for_email(self, who: Account, subject: str) -> Json:
        def delivered() -> EmailMessage | None:
            return outside.find(self.stack.mail, who, lambda message: message["Subject"] == subject)

        def recorded() -> Json | None:
            emails = self.console.all(f"/v1/mailboxes/{self.mailboxes[who.address]}/emails")
            return next((one for one in emails if one["subject"] == subject and one["direction"] == "incoming"), None)

        # If Mailrail were woken before the server has the message, it would find none.
        log = self.stack.mail.postfix.folder / "mail.log"
        wait_for(f"the message in {who.address}'s inbox", delivered, SYNC_SECONDS_MAX, f"read {log}")
        self.wake(who, INCOMING)
        return wait_for(f"the email record in {who.address}", recorded, SYNC_SECONDS_MAX, self.remedy)

    def fail_until_disabled(self, who: Account, seconds_max: float) -> list[int]:
        """Enables incoming email and returns each count of transient failures that was seen until it was disabled."""
        mailbox = self.mailboxes[who.address]
        self.console.enable(mailbox, [INCOMING])
        self.wake(who, INCOMING)
        counts: list[int] = []

        def is_disabled() -> bool:
            delivery = self.console.get(f"/v1/mailboxes/{mailbox}")["deliveries"][INCOMING]
            count = delivery["transient_failure_count"]
            if count not in counts:
                counts.append(count)
                detail(f"transient failures: {count}, {'enabled' if delivery['enabled'] else 'disabled'}")
            return not delivery["enabled"]

        wait_for(f"incoming email of {who.address} to be disabled", is_disabled, seconds_max, self.remedy)
        return counts

    def show_notice(self, name: str) -> None:
        # The owner also gets a warning before the last tries, which is not the notice that is meant here.
        subject = f"The mailbox {name} has been disabled"

        def arrived() -> EmailMessage | None:
            return outside.find(self.stack.mail, self.owner, lambda message: message["Subject"].startswith(subject))

        what = f"the notice about {name} in {self.owner.address}"
        notice = wait_for(what, arrived, NOTICE_SECONDS_MAX, self.remedy, gap_seconds=1)
        seen(f"the owner, {self.owner.address}, has the notice: {notice['Subject']}")
        for line in outside.text_of(notice).splitlines():
            detail(f"| {line}")


def _first_account(stack: Stack) -> int:
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
