"""The tables that a person reads, and the targets beside what was measured."""

from collections.abc import Callable, Iterable, Sequence

from ..progress import say
from .clients import AWS, MBSYNC, MBSYNC_PLAIN, MEMORY, MPOP
from .rows import Row, Rows

# A row whose machine was busier than this is marked.
BUSY_MARKED = 0.3
INSIDE = "inside TLS"
# Ticks of the schedule between two runs of a mailbox, and for how many mailboxes they are reckoned.
POLLING_MINUTES = 5
SHARING_A_SCHEDULE = (20, 1_000, 100_000)


def show(rows: Rows) -> None:
    for protocol in sorted({row.protocol for row in rows}):
        of = [row for row in rows if row.protocol == protocol]
        timed = [row for row in of if row.milliseconds is not None]
        say()
        say(f"{protocol}: time (medians; * the machine was busy with something else)")
        table(
            ["work", "RTT ms", "client", "n", "wall s", "CPU s", "messages/s", "CPU ms/mailbox", "peak MB"],
            [
                [
                    row.work,
                    row.milliseconds,
                    row.client,
                    len(row.samples),
                    f"{row.of('wall'):.2f}{'*' if row.of('busy') > BUSY_MARKED else ' '}",
                    f"{row.of('processor'):.3f}",
                    f"{row.messages_per_second:.0f}" if row.messages else "",
                    f"{row.each('processor') * 1000:.1f}",
                    f"{row.of('peak_kilobytes') / 1000:.0f}",
                ]
                for row in timed
            ],
        )
        say()
        say(f"{protocol}: network, of one mailbox")
        table(
            ["work", "RTT ms", "client", "round trips", "bytes up", "bytes down"],
            [
                [
                    row.work,
                    INSIDE if row.milliseconds is None else row.milliseconds,
                    row.client,
                    *(f"{row.each(name):.1f}" for name in ("turns", "up", "down")),
                ]
                for row in of
            ],
        )
        say()
        of_aws = [row for row in timed if row.client == AWS]
        if not of_aws:
            continue
        say(f"{protocol}: AWS, of one mailbox; and units of one tick of the schedule, however many mailboxes there are")
        table(
            [
                "work",
                "RTT ms",
                "DynamoDB calls",
                "read units",
                "write units",
                "SQS calls",
                "S3 calls",
                "KMS calls",
                "read units/tick",
                "write units/tick",
            ],
            [
                [
                    row.work,
                    row.milliseconds,
                    *(
                        f"{value:.2f}"
                        for value in (
                            row.calls("DynamoDB"),
                            row.units("read_units"),
                            row.units("write_units"),
                            row.calls("SQS"),
                            row.calls("S3"),
                            row.calls("KMS"),
                            row.units_of_tick("read_units"),
                            row.units_of_tick("write_units"),
                        )
                    ),
                ]
                for row in of_aws
            ],
        )


def targets(rows: Rows) -> None:
    """Each number to reach, what was measured, and whether it is reached."""
    lines: list[list[object]] = []

    def add(target: str, measured: float | None, limit: float | None, at_least: bool = False) -> None:
        if measured is None or limit is None:
            return
        reached = measured >= limit if at_least else measured <= limit
        sign = ">=" if at_least else "<="
        lines.append([target, f"{measured:.3g}", f"{sign} {limit:.3g}", "reached" if reached else "NOT REACHED"])

    def value(row: Row | None, take: Callable[[Row], float | None]) -> float | None:
        return None if row is None else take(row)

    inside = rows.find("IMAP", "idle", None, MEMORY)
    wire = rows.find("IMAP", "idle", 0, MEMORY)
    for where, row in ((INSIDE, inside), ("on the wire", wire)):
        add(f"IMAP idle: round trips, {where}", value(row, lambda row: row.each("turns")), 5)
        add(f"IMAP idle: bytes up, {where}", value(row, lambda row: row.each("up")), 1_000)
        add(f"IMAP idle: bytes down, {where}", value(row, lambda row: row.each("down")), 2_000)
    add("IMAP idle: 20 mailboxes at 30 ms, s", value(rows.find("IMAP", "idle", 30, MEMORY), _wall), 1)
    idle = rows.find("IMAP", "idle", 0, AWS)
    for kind in ("read_units", "write_units"):
        name = f"IMAP idle: {kind.replace('_', ' ')}"
        for mailboxes in SHARING_A_SCHEDULE:
            of_schedule = POLLING_MINUTES / mailboxes
            units = value(idle, lambda row: row.units(kind) + row.units_of_tick(kind) * of_schedule)
            add(f"{name}, where {mailboxes:,} mailboxes share the schedule", units, 1)
    for protocol, peers in (("IMAP", (MBSYNC, MBSYNC_PLAIN)), ("POP3", (MPOP,))):
        for work in ("first", "idle"):
            for milliseconds in (0, 30):
                ours = rows.find(protocol, work, milliseconds, MEMORY)
                for peer in peers:
                    theirs = rows.find(protocol, work, milliseconds, peer)
                    name = f"{protocol} {work} at {milliseconds} ms beside {peer}"
                    if work == "first":
                        rates = (value(row, lambda row: row.messages_per_second) for row in (ours, theirs))
                        add(f"{name}: messages/s", *rates, at_least=True)
                    else:
                        add(f"{name}: wall s", value(ours, _wall), value(theirs, _wall))
                    add(f"{name}: CPU s", value(ours, _processor), value(theirs, _processor))
    for row in rows:
        if row.protocol == "large":
            add(f"{row.work}: peak MB", row.of("peak_kilobytes") / 1000, 256)
    if lines:
        say()
        say("Numbers to reach")
        table(["number", "measured", "target", ""], lines)


def _wall(row: Row) -> float:
    return row.of("wall")


def _processor(row: Row) -> float:
    return row.of("processor")


def table(names: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    cells = [list(names), *([str(cell) for cell in line] for line in lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for number, line in enumerate(cells):
        padded = (
            cell.rjust(width) if _is_number(cells[-1][column]) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        say("  " + "  ".join(padded).rstrip())
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


def _is_number(cell: str) -> bool:
    return cell.rstrip("* ").replace(".", "", 1).isdigit()
