"""The command `infra/local/bench`."""

import argparse
import imaplib
import json
import shutil
import ssl
from contextlib import AbstractContextManager, ExitStack

from .. import functions, packages, stack
from ..accounts import Account, account
from ..command import carry_out
from ..progress import say, step
from . import compression, emulator, exchange, large, peers, quiet, table
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
# Accounts: one set of mailboxes for each delay, a maildrop, and those of the large messages.
FIRST_OF_DELAY = {0: 1, 30: 41}
MAILDROP = 81
TOUCH_SECONDS_MAX = 15


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/bench", description="Measures Mailrail beside mbsync and mpop on the same work."
    )
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="leave out the other parts; may be repeated"
    )
    parser.add_argument(
        "--no-emulator", action="store_true", help="leave out the rows with records in the emulator, which take longest"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=10,
        metavar="SECONDS",
        help="how long to wait for a quiet moment before each measurement (default: 10)",
    )
    options = parser.parse_args()
    carry_out(lambda: bench(options))


def bench(options: argparse.Namespace) -> None:
    functions.need_cargo()
    program, receive_email = build()
    packages.ensure(peers.PACKAGES)
    with stack.up(stack.Wish("bench", large.archives(receive_email))) as (running, _):
        emulator.silence(running.aws)
        compression.offer(running.mail, account(1).address, account(1).password)
        folder = running.folder / "peers"
        shutil.rmtree(folder, ignore_errors=True)
        run = Run(Bench(program, running, folder), options)
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
        raw = running.folder / "bench.json"
        raw.write_text(json.dumps([row.raw() for row in run.rows], indent=2) + "\n")
        say()
        say(f"every measurement: {raw}")


class Run:
    """One run of the bench, protocol by protocol."""

    def __init__(self, bench: Bench, options: argparse.Namespace) -> None:
        self.bench = bench
        self.rows = Rows()
        self._patience: float = options.patience
        self._with_emulator: bool = not options.no_emulator

    def imap(self) -> None:
        sizes = once(self.bench.program, "sizes", account(1).address, MESSAGES)
        say(f"  bytes of a message: mean {sizes['mean']}, median {sizes['median']}, 95 of 100 below {sizes['p95']}")
        port = self.bench.stack.mail.dovecot.ports["imaps"]
        for delay in DELAYS_MILLISECONDS:
            people = _people(delay)
            with step(f"IMAP: {MAILBOXES} x {MESSAGES} messages, which a first reader warms"):
                for one in people:
                    self._deliver(one, 0, MESSAGES, "read")
                with self.bench.peer(MBSYNC_TOGETHER, people, port, f"warm-{delay}") as warm:
                    warm.work()
            with Part(self.bench.program, "proxy", port, delay // 2) as network:
                names = self._names(MBSYNC, MBSYNC_PLAIN, MBSYNC_TOGETHER)
                self._measure("IMAP", delay, names, people, network, MESSAGES, (IDLE_TIMES, NEW_TIMES))
        certified = self.bench.stack.mail.certificates
        paths = (certified.ca, certified.certificate, certified.key)
        with Part(self.bench.program, "reveal", port, *paths) as network:
            names = [MEMORY, MBSYNC, MBSYNC_PLAIN]
            self._measure("IMAP", None, names, _people(0), network, MESSAGES + NEW_TIMES, (1, 1))

    def pop3(self) -> None:
        port = self.bench.stack.mail.dovecot.ports["pop3s"]
        people = [account(MAILDROP)]
        with step(f"POP3: one maildrop of {MAILDROP_MESSAGES} messages, which a first reader warms"):
            self._deliver(people[0], 0, MAILDROP_MESSAGES, "read")
            with self.bench.peer(MPOP, people, port, "warm") as warm:
                warm.work()
        for delay in DELAYS_MILLISECONDS:
            with Part(self.bench.program, "proxy", port, delay // 2) as network:
                names = self._names(MPOP)
                self._measure("POP3", delay, names, people, network, MAILDROP_MESSAGES, (IDLE_TIMES, 0))

    def _names(self, *peer_names: str) -> list[str]:
        return [MEMORY, *([AWS] if self._with_emulator else []), *peer_names]

    def _measure(
        self,
        protocol: str,
        delay: int | None,
        names: list[str],
        people: list[Account],
        network: Part,
        there: int,
        times: tuple[int, int],
    ) -> None:
        """A first synchronization, idle checks, and one new message for each mailbox, by one client after another."""
        where = "inside TLS" if delay is None else f"at {delay} ms"
        idle_times, new_times = times
        with ExitStack() as opened:
            working = [opened.enter_context(self._client(name, protocol, people, network, where)) for name in names]
            for client in working:
                with step(f"{protocol} {where}: {client.name}"):
                    self._sample(protocol, "first", delay, client, network, len(people), there * len(people))
                    client.expect(there * len(people))
                    for _ in range(idle_times):
                        self._sample(protocol, "idle", delay, client, network, len(people), 0)
            for number in range(there, there + new_times):
                for one in people:
                    self._deliver(one, number, 1, "new")
                self._touch(people)
                for client in working:
                    self._sample(protocol, "new", delay, client, network, len(people), len(people))
            for client in working:
                client.expect((there + new_times) * len(people))

    def _client(
        self, name: str, protocol: str, people: list[Account], network: Part, where: str
    ) -> AbstractContextManager[Client]:
        port: int = network.first["port"]
        if name in (MEMORY, AWS):
            return self.bench.mailrail(name, protocol.lower(), people, port)
        return self.bench.peer(name, people, port, where)

    def _sample(
        self, protocol: str, work: str, delay: int | None, client: Client, network: Part, mailboxes: int, messages: int
    ) -> None:
        busy = quiet.moment(self._patience)
        network.ask()
        cost, aws = client.work()
        passed = network.ask()
        row = self.rows.row(protocol, work, delay, client.name, mailboxes, messages)
        row.samples.append(
            Sample(
                cost.wall,
                cost.processor,
                cost.peak_kilobytes,
                passed["turns"],
                passed["up"],
                passed["down"],
                aws,
                busy,
            )
        )

    def _deliver(self, person: Account, first: int, count: int, state: str) -> None:
        once(self.bench.program, "deliver", self.bench.stack.mail.dovecot.mail, person.address, first, count, state)

    def _touch(self, people: list[Account]) -> None:
        """Lets the server take in what has come, so that none of those who are measured has to wait for that."""
        tls = ssl.create_default_context(cafile=str(self.bench.stack.mail.certificates.ca))
        for one in people:
            with imaplib.IMAP4_SSL(
                "localhost", self.bench.stack.mail.dovecot.ports["imaps"], ssl_context=tls, timeout=TOUCH_SECONDS_MAX
            ) as session:
                session.login(one.address, one.password)
                session.select(readonly=False)


def _people(delay: int) -> list[Account]:
    return [account(FIRST_OF_DELAY[delay] + n) for n in range(MAILBOXES)]


if __name__ == "__main__":
    main()
