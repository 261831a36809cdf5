"""This file prints the measurements, because people compare them with each other and with our targets."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..progress import say
from .clients import AWS, MBSYNC, MBSYNC_PLAIN, MEMORY, MPOP
from .rows import Row, Rows

# A row is marked if the machine was busier than this.
BUSY_MARKED = 0.3
INSIDE = "inside TLS"
PEERS = {"IMAP": (MBSYNC, MBSYNC_PLAIN), "POP3": (MPOP,)}
# The schedule ticks once a minute. These numbers of mailboxes share what a tick costs.
POLLING_MINUTES = 5
SHARING_A_SCHEDULE = (20, 1_000, 100_000)

Line = list[str]


# The columns of the tables: their titles, and what each shows of a row.
Columns = dict[str, Callable[[Row], object]]
WHAT: Columns = {
    "work": lambda row: row.work,
    "RTT ms": lambda row: INSIDE if row.milliseconds is None else row.milliseconds,
    "client": lambda row: row.client,
}
TIME: Columns = {
    "n": lambda row: len(row.samples),
    "wall s": lambda row: f"{row.of('wall'):.2f}{'*' if row.of('busy') > BUSY_MARKED else ' '}",
    "CPU s": lambda row: f"{row.of('processor'):.3f}",
    "messages/s": lambda row: f"{row.messages_per_second:.0f}" if row.messages else "",
    "CPU ms/mailbox": lambda row: f"{row.each('processor') * 1000:.1f}",
    "peak MB": lambda row: f"{row.of('peak_kilobytes') / 1000:.0f}",
}
NETWORK: Columns = {
    "round trips": lambda row: f"{row.each('turns'):.1f}",
    "bytes up": lambda row: f"{row.each('up'):.1f}",
    "bytes down": lambda row: f"{row.each('down'):.1f}",
}
CALLS: Columns = {
    "DynamoDB calls": lambda row: f"{row.calls('DynamoDB'):.2f}",
    "read units": lambda row: f"{row.units('read_units'):.2f}",
    "write units": lambda row: f"{row.units('write_units'):.2f}",
    "SQS calls": lambda row: f"{row.calls('SQS'):.2f}",
    "S3 calls": lambda row: f"{row.calls('S3'):.2f}",
    "KMS calls": lambda row: f"{row.calls('KMS'):.2f}",
    "read units/tick": lambda row: f"{row.units_of_tick('read_units'):.2f}",
    "write units/tick": lambda row: f"{row.units_of_tick('write_units'):.2f}",
}


def show(rows: Rows) -> None:
    for protocol in sorted({row.protocol for row in rows}):
        of = [row for row in rows if row.protocol == protocol]
        timed = [row for row in of if row.milliseconds is not None]
        _show(f"{protocol}: time (medians; * the machine was busy with something else)", TIME, timed)
        _show(f"{protocol}: network, for one mailbox", NETWORK, [row for row in of if row.of("turns")])
        of_aws = [row for row in timed if row.client == AWS]
        _show(f"{protocol}: AWS, for one mailbox; and units for one tick of the schedule", CALLS, of_aws)


def _show(title: str, columns: Columns, rows: list[Row]) -> None:
    if rows:
        say()
        say(title)
        shown = WHAT | columns
        table(list(shown), [[value(row) for value in shown.values()] for row in rows])


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
