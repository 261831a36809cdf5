"""This file lets Mailrail and its peers work through one interface, because all are measured in the same way."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..accounts import Account
from ..progress import Failed
from ..stack import Stack
from . import emulator
from .parts import Json, Part
from .peers import Cost, Mbsync, Mpop

MEMORY = "Mailrail"
AWS = "Mailrail, emulator"
MBSYNC = "mbsync"
MBSYNC_PLAIN = "mbsync, no COMPRESS"
MBSYNC_TOGETHER = "mbsync, ten at once"
MPOP = "mpop"


class Client(Protocol):
    name: str

    def work(self) -> tuple[Cost, Json | None]:
        """Takes new messages, and returns what that cost and the calls to AWS, if there are any."""

    def expect(self, messages: int) -> None:
        """Fails if the client has not taken this number of messages altogether."""


@dataclass
class Mailrail:
    name: str
    part: Part
    counter: Part | None
    mailboxes: int

    def work(self) -> tuple[Cost, Json | None]:
        self._calls()
        enqueued = self.part.ask("enqueue")
        schedule = self._calls()
        done = self.part.ask("run")
        if enqueued["wakes"] != self.mailboxes or done["again"] or done["runs"] < self.mailboxes:
            raise Failed(f"{self.name} did not run every mailbox once: {enqueued}, {done}")
        cost = Cost(enqueued["wall"] + done["wall"], enqueued["processor"] + done["processor"], done["peak_kilobytes"])
        if self.counter is None:
            return cost, None
        return cost, {"ticks": enqueued["ticks"], "schedule": schedule, "run": self._calls()}

    def expect(self, messages: int) -> None:
        found = self.part.ask("check")
        if found["failed"] or found["records"] != messages:
            raise Failed(f"{self.name} has {found['records']} of {messages} messages; failed: {found['failed']}")

    def _calls(self) -> Json | None:
        return None if self.counter is None else self.counter.ask()


@dataclass
class Peer:
    name: str
    program: Mbsync | Mpop

    def work(self) -> tuple[Cost, Json | None]:
        return self.program.run(), None

    def expect(self, messages: int) -> None:
        found = self.program.messages()
        if found != messages:
            raise Failed(f"{self.name} has {found} of {messages} messages")


@dataclass(frozen=True)
class Bench:
    """What every client needs."""

    program: Path
    stack: Stack
    folder: Path

    @contextmanager
    def mailrail(self, name: str, protocol: str, people: list[Account], port: int) -> Iterator[Client]:
        with ExitStack() as parts:
            counter = None
            stores = "memory"
            environment = {"EXTRA_CA_PEM": self.stack.mail.certificates.ca.read_text()}
            if name == AWS:
                stores = "aws"
                emulator.forget(self.stack.aws, self.stack.outputs)
                aws_port = self.stack.aws.url.rsplit(":", 1)[1]
                counter = parts.enter_context(Part(self.program, "count", aws_port))
                environment = emulator.environment(
                    self.stack.aws, self.stack.outputs, self.stack.mail.certificates, counter.first["port"]
                )
            accounts = [f"{one.address} {one.password}" for one in people]
            work = Part(self.program, "work", stores, protocol, port, *accounts, environment=environment)
            yield Mailrail(name, parts.enter_context(work), counter, len(people))

    def peer(self, name: str, people: list[Account], port: int, run: str) -> Client:
        folder = self.folder / f"{run} {name}".replace(",", "").replace(" ", "-")
        certificates = self.stack.mail.certificates
        make: dict[str, Callable[[], Mbsync | Mpop]] = {
            MBSYNC: lambda: Mbsync(folder, people, port, certificates, compress=True, together=False),
            MBSYNC_PLAIN: lambda: Mbsync(folder, people, port, certificates, compress=False, together=False),
            MBSYNC_TOGETHER: lambda: Mbsync(folder, people, port, certificates, compress=False, together=True),
            MPOP: lambda: Mpop(folder, people[0], port, certificates),
        }
        return Peer(name, make[name]())
