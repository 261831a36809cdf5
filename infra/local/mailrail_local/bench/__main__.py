"""This program is the command `infra/local/bench`, because README promises a comparison in one run."""

import argparse
import imaplib
import ssl
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

from .. import stack
from ..accounts import Account, account
from ..command import carry_out
from ..progress import say, step
from . import emulator, exchange, large, quiet, table
from .clients import AWS, MBSYNC, MBSYNC_PLAIN, MBSYNC_TOGETHER, MEMORY, MPOP, Bench, Client
from .parts import Part, build, once
from .rows import Rows, Sample

PARTS = ["imap", "pop3", "large", "exchange"]
MAILBOXES = 20
MESSAGES = 500
MAILDROP_MESSAGES = 10_000
DELAYS_MILLISECONDS = (0, 30)
IDLE_TIMES = 5
NEW_TIMES = 3
# The numbers of the first account for each delay, and of the account with the maildrop.
FIRST_OF_DELAY = {0: 1, 30: 41}
MAILDROP = 81
TOUCH_SECONDS_MAX = 15
# How long to wait for a quiet moment before a measurement.
PATIENCE_SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/bench", description="Measures Mailrail beside mbsync and mpop on the same work."
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts; may be repeated")
    parser.add_argument(
        "--no-emulator", action="store_true", help="leave out the rows with records in the emulator, which take longest"
    )
    options = parser.parse_args()
    carry_out(lambda: bench(options))


def bench(options: argparse.Namespace) -> None:
    program, receive_email = build()
    wish = stack.Wish("bench", large.archives(receive_email), with_compression=True)
    with stack.up(wish) as (running, _):
        emulator.silence(running.aws)
        run = Run(Bench(program, running, running.folder / "peers"), options)
        parts = options.only or PARTS
        if "imap" in parts:
            run.imap()
        if "pop3" in parts:
            run.pop3()
        if "large" in parts:
            large.measure(run.bench, run.rows)
        if "exchange" in parts:
            exchange.measure(program)
        table.show(run.rows)
        table.targets(run.rows)


@dataclass(frozen=True)
class Case:
    """The mailboxes that every client synchronizes, and the network between them and the server."""

    protocol: str
    # The milliseconds of a round trip. Without them, bytes and round trips are counted inside TLS.
    delay: int | None
    people: list[Account]
    network: Part
    # Messages in each mailbox at the beginning.
    messages: int

    def __str__(self) -> str:
        return f"{self.protocol} " + ("inside TLS" if self.delay is None else f"at {self.delay} ms")


class Run:
    """One run of the bench, protocol by protocol."""

    def __init__(self, bench: Bench, options: argparse.Namespace) -> None:
        self.bench = bench
        self.rows = Rows()
        self._dovecot = bench.stack.mail.dovecot
        self._with_emulator: bool = not options.no_emulator

    def imap(self) -> None:
        sizes = once(self.bench.program, "sizes", account(1).address, MESSAGES)
        say(f"  bytes of a message: mean {sizes['mean']}, median {sizes['median']}, 95 of 100 below {sizes['p95']}")
        port = self._dovecot.ports["imaps"]
        for delay in DELAYS_MILLISECONDS:
            people = _people(delay)
            with step(f"IMAP: {MAILBOXES} x {MESSAGES} messages, which a first reader warms"):
                for one in people:
                    self._deliver(one, 0, MESSAGES, "read")
                self.bench.peer(MBSYNC_TOGETHER, people, port, f"warm-{delay}").work()
            with Part(self.bench.program, "proxy", port, delay // 2) as network:
                names = self._names(MBSYNC, MBSYNC_PLAIN, MBSYNC_TOGETHER)
                self._measure(Case("IMAP", delay, people, network, MESSAGES), names, IDLE_TIMES, NEW_TIMES)
        certified = self.bench.stack.mail.certificates
        paths = (certified.ca, certified.certificate, certified.key)
        with Part(self.bench.program, "reveal", port, *paths) as network:
            names = [MEMORY, MBSYNC, MBSYNC_PLAIN]
            self._measure(Case("IMAP", None, _people(0), network, MESSAGES + NEW_TIMES), names, 1, 1)

    def pop3(self) -> None:
        port = self._dovecot.ports["pop3s"]
        people = [account(MAILDROP)]
        with step(f"POP3: one maildrop of {MAILDROP_MESSAGES} messages, which a first reader warms"):
            self._deliver(people[0], 0, MAILDROP_MESSAGES, "read")
            self.bench.peer(MPOP, people, port, "warm").work()
        for delay in DELAYS_MILLISECONDS:
            with Part(self.bench.program, "proxy", port, delay // 2) as network:
                names = self._names(MPOP)
                self._measure(Case("POP3", delay, people, network, MAILDROP_MESSAGES), names, IDLE_TIMES, 0)

    def _names(self, *peer_names: str) -> list[str]:
        return [MEMORY, *([AWS] if self._with_emulator else []), *peer_names]

    def _measure(self, case: Case, names: list[str], idle_times: int, new_times: int) -> None:
        """Measures a first synchronization, idle checks, and a new message in each mailbox, client by client."""
        everywhere = len(case.people)
        with ExitStack() as opened:
            working = [opened.enter_context(self._client(name, case)) for name in names]
            for client in working:
                with step(f"{case}: {client.name}"):
                    self._sample(case, "first", client, case.messages * everywhere)
                    client.expect(case.messages * everywhere)
                    for _ in range(idle_times):
                        self._sample(case, "idle", client, 0)
            for number in range(case.messages, case.messages + new_times):
                for one in case.people:
                    self._deliver(one, number, 1, "new")
                self._touch(case.people)
                for client in working:
                    self._sample(case, "new", client, everywhere)
            for client in working:
                client.expect((case.messages + new_times) * everywhere)

    def _client(self, name: str, case: Case) -> AbstractContextManager[Client]:
        port: int = case.network.first["port"]
        if name in (MEMORY, AWS):
            return self.bench.mailrail(name, case.protocol.lower(), case.people, port)
        return nullcontext(self.bench.peer(name, case.people, port, str(case)))

    def _sample(self, case: Case, work: str, client: Client, messages: int) -> None:
        busy = quiet.moment(PATIENCE_SECONDS)
        case.network.ask()
        cost, aws = client.work()
        passed = case.network.ask()
        row = self.rows.row(case.protocol, work, case.delay, client.name, len(case.people), messages)
        network = (passed["turns"], passed["up"], passed["down"])
        row.samples.append(Sample(cost.wall, cost.processor, cost.peak_kilobytes, *network, aws, busy))

    def _deliver(self, person: Account, first: int, count: int, state: str) -> None:
        once(self.bench.program, "deliver", self._dovecot.mail, person.address, first, count, state)

    def _touch(self, people: list[Account]) -> None:
        """Lets the server take in the new messages, so that no client that is measured has to wait for that."""
        tls = ssl.create_default_context(cafile=str(self.bench.stack.mail.certificates.ca))
        for one in people:
            with imaplib.IMAP4_SSL(
                "localhost", self._dovecot.ports["imaps"], ssl_context=tls, timeout=TOUCH_SECONDS_MAX
            ) as session:
                session.login(one.address, one.password)
                session.select(readonly=False)


def _people(delay: int) -> list[Account]:
    return [account(FIRST_OF_DELAY[delay] + n) for n in range(MAILBOXES)]


if __name__ == "__main__":
    main()
