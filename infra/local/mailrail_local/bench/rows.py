"""What was measured: one row for a client at a piece of work."""

from dataclasses import dataclass, field
from statistics import median

from .parts import Json


@dataclass
class Sample:
    """One time that a client did a piece of work, for all its mailboxes."""

    wall: float
    processor: float
    peak_kilobytes: int
    # Of the network: round trips and bytes.
    turns: int
    up: int
    down: int
    # Of AWS, where the client uses it.
    aws: Json | None
    # How busy the machine was just before, with other people's work: 0 to 1.
    busy: float


@dataclass
class Row:
    """A client at a piece of work, as often as it was done."""

    protocol: str
    work: str
    milliseconds: int | None
    client: str
    mailboxes: int
    messages: int
    samples: list[Sample] = field(default_factory=list)

    def of(self, name: str) -> float:
        """The median of what was measured."""
        return median(getattr(sample, name) for sample in self.samples)

    def each(self, name: str) -> float:
        """The same for one mailbox."""
        return self.of(name) / self.mailboxes

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.of("wall")

    def calls(self, service: str) -> float:
        """Calls to a service of AWS for one mailbox, with its share of the schedule."""
        sums = [
            sum(n for part in ("schedule", "run") for name, n in aws[part]["calls"].items() if name.startswith(service))
            for aws in self._aws()
        ]
        return median(sums) / self.mailboxes

    def units(self, kind: str) -> float:
        """Units of the table, `read_units` or `write_units`, for one mailbox, without the schedule."""
        return median(aws["run"][kind] for aws in self._aws()) / self.mailboxes

    def units_of_tick(self, kind: str) -> float:
        """The same for one tick of the schedule, whatever the number of mailboxes."""
        return median(aws["schedule"][kind] / aws["ticks"] for aws in self._aws())

    def _aws(self) -> list[Json]:
        return [sample.aws for sample in self.samples if sample.aws is not None]

    def raw(self) -> Json:
        return {**self.__dict__, "samples": [sample.__dict__ for sample in self.samples]}


class Rows(list[Row]):
    def row(
        self, protocol: str, work: str, milliseconds: int | None, client: str, mailboxes: int, messages: int
    ) -> Row:
        """The row of that name, which begins empty."""
        found = self.find(protocol, work, milliseconds, client)
        if found is None:
            found = Row(protocol, work, milliseconds, client, mailboxes, messages)
            self.append(found)
        return found

    def find(self, protocol: str, work: str, milliseconds: int | None, client: str) -> Row | None:
        wanted = (protocol, work, milliseconds, client)
        return next((row for row in self if (row.protocol, row.work, row.milliseconds, row.client) == wanted), None)
