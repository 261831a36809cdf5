"""This file prints the measurements, because people compare them with each other and with our targets."""

from collections.abc import Iterable, Iterator, Sequence

from ..progress import say
from .clients import AWS, MBSYNC, MBSYNC_PLAIN, MEMORY, MPOP
from .rows import Rows

# A row is marked if the machine was busier than this.
BUSY_MARKED = 0.3
INSIDE = "inside TLS"
PEERS = {"IMAP": (MBSYNC, MBSYNC_PLAIN), "POP3": (MPOP,)}
# The schedule ticks once a minute. These numbers of mailboxes share what a tick costs.
POLLING_MINUTES = 5
SHARING_A_SCHEDULE = (20, 1_000, 100_000)

Line = list[str]


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
    """Prints each target, what was measured, and whether the target is reached."""
    lines = [*_of_idle_check(rows), *_of_units(rows), *_beside_peers(rows)]
    large = [row for row in rows if row.protocol == "large"]
    lines += [_target(f"{row.work}: peak MB", row.of("peak_kilobytes") / 1000, 256) for row in large]
    if lines:
        say()
        say("Targets")
        table(["target", "measured", "limit", ""], lines)


def _target(name: str, measured: float, limit: float, at_least: bool = False) -> Line:
    reached = measured >= limit if at_least else measured <= limit
    sign = ">=" if at_least else "<="
    return [name, f"{measured:.3g}", f"{sign} {limit:.3g}", "reached" if reached else "NOT REACHED"]


def _of_idle_check(rows: Rows) -> Iterator[Line]:
    for where, row in (
        (INSIDE, rows.find("IMAP", "idle", None, MEMORY)),
        ("on the wire", rows.find("IMAP", "idle", 0, MEMORY)),
    ):
        if row:
            yield _target(f"IMAP idle: round trips, {where}", row.each("turns"), 5)
            yield _target(f"IMAP idle: bytes up, {where}", row.each("up"), 1_000)
            yield _target(f"IMAP idle: bytes down, {where}", row.each("down"), 2_000)
    if slow := rows.find("IMAP", "idle", 30, MEMORY):
        yield _target("IMAP idle: 20 mailboxes at 30 ms, s", slow.of("wall"), 1)


def _of_units(rows: Rows) -> Iterator[Line]:
    row = rows.find("IMAP", "idle", 0, AWS)
    if row is None:
        return
    for kind in ("read_units", "write_units"):
        for mailboxes in SHARING_A_SCHEDULE:
            units = row.units(kind) + row.units_of_tick(kind) * POLLING_MINUTES / mailboxes
            name = f"IMAP idle: {kind.replace('_', ' ')}, where {mailboxes:,} mailboxes share the schedule"
            yield _target(name, units, 1)


def _beside_peers(rows: Rows) -> Iterator[Line]:
    for ours in rows:
        if ours.client != MEMORY or ours.milliseconds is None or ours.work not in ("first", "idle"):
            continue
        for peer in PEERS[ours.protocol]:
            theirs = rows.find(ours.protocol, ours.work, ours.milliseconds, peer)
            if theirs is None:
                continue
            name = f"{ours.protocol} {ours.work} at {ours.milliseconds} ms beside {peer}"
            if ours.work == "first":
                yield _target(
                    f"{name}: messages/s", ours.messages_per_second, theirs.messages_per_second, at_least=True
                )
            else:
                yield _target(f"{name}: wall s", ours.of("wall"), theirs.of("wall"))
            yield _target(f"{name}: CPU s", ours.of("processor"), theirs.of("processor"))


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
