"""This file keeps the measurements, because the table shows medians of several."""

from dataclasses import dataclass, field
from statistics import median

from .parts import Json


@dataclass
class Sample:
    """One time that a client did a piece of work, for all its mailboxes."""

    wall: float
    processor: float
    peak_kilobytes: int
    # Round trips and bytes on the network.
    turns: int
    up: int
    down: int
    # Calls to AWS, if the client makes any.
    aws: Json | None
    # How busy the machine was with other work just before: 0 to 1.
    busy: float


@dataclass
class Row:
    """A client at a piece of work, with one sample for each time that it did the work."""

    protocol: str
    work: str
    milliseconds: int | None
    client: str
    mailboxes: int
    messages: int
    samples: list[Sample] = field(default_factory=list)

    def of(self, name: str) -> float:
        """The median of a measurement."""
        return float(median(getattr(sample, name) for sample in self.samples))

    def each(self, name: str) -> float:
        """The median of a measurement, divided by the number of mailboxes."""
        return self.of(name) / self.mailboxes

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.of("wall")

    def calls(self, service: str) -> float:
        """Calls to a service of AWS for one mailbox, including its share of the schedule."""
        sums = [
            sum(n for part in ("schedule", "run") for name, n in aws[part]["calls"].items() if name.startswith(service))
            for aws in self._aws()
        ]
        return float(median(sums)) / self.mailboxes

    def units(self, kind: str) -> float:
        """Units of the table (`read_units` or `write_units`) for one mailbox, without the schedule."""
        return float(median(aws["run"][kind] for aws in self._aws())) / self.mailboxes

    def units_of_tick(self, kind: str) -> float:
        """Units of the table for one tick of the schedule, which do not depend on the number of mailboxes."""
        return float(median(aws["schedule"][kind] / aws["ticks"] for aws in self._aws()))

    def _aws(self) -> list[Json]:
        return [sample.aws for sample in self.samples if sample.aws is not None]


class Rows(list[Row]):
    def row(
        self, protocol: str, work: str, milliseconds: int | None, client: str, mailboxes: int, messages: int
    ) -> Row:
        """The row of these values, which is made if there is none."""
        found = self.find(protocol, work, milliseconds, client)
        if found is None:
            found = Row(protocol, work, milliseconds, client, mailboxes, messages)
            self.append(found)
        return found

    def find(self, protocol: str, work: str, milliseconds: int | None, client: str) -> Row | None:
        wanted = (protocol, work, milliseconds, client)
        return next((row for row in self if (row.protocol, row.work, row.milliseconds, row.client) == wanted), None)
