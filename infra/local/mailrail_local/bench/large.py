"""This file measures the memory that large messages take, because Lambda ends a function that takes too much."""

import json
import os
import re
import time
from pathlib import Path

from .. import functions
from ..accounts import Account, account
from ..functions import Archive
from ..progress import Failed, step
from ..stack import Stack
from .clients import AWS, Bench
from .parts import once
from .rows import Rows, Sample

FUNCTION = "receive-email"
MESSAGE_BYTES = 50 * 1_000_000
FIRST_ACCOUNT = 82
# The protocol, and the number of mailboxes in the batch, each of which has one large message.
CASES = [("imap", 1), ("pop3", 1), ("imap", 10)]
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def archives(receive_email: Path) -> list[Archive]:
    """Code for the one function that is invoked here, and placeholders for the others."""
    packed = {archive.function: archive for archive in functions.placeholders()}
    packed[FUNCTION] = Archive(FUNCTION, functions.zipped(receive_email.read_bytes()))
    return list(packed.values())


def measure(bench: Bench, rows: Rows) -> None:
    first = FIRST_ACCOUNT
    for protocol, mailboxes in CASES:
        people = [account(first + number) for number in range(mailboxes)]
        first += mailboxes
        many = "a message" if mailboxes == 1 else f"{mailboxes} mailboxes with a message each"
        work = f"{many} of {MESSAGE_BYTES // 1_000_000} MB over {protocol.upper()}"
        with step(f"{FUNCTION} takes {work}"):
            sample = _case(bench, protocol, people)
            rows.row("large", work, 0, FUNCTION, mailboxes, mailboxes).samples.append(sample)


def _case(bench: Bench, protocol: str, people: list[Account]) -> Sample:
    stack = bench.stack
    for one in people:
        once(bench.program, "deliver-large", stack.mail.dovecot.mail, one.address, MESSAGE_BYTES)
    port = stack.mail.dovecot.ports[f"{protocol}s"]
    with bench.mailrail(AWS, protocol, people, port) as mailrail:
        wakes = [
            {"version": 1, "mailbox": one.address.replace("@", "-").replace(".", "-"), "delivery": "incoming-email"}
            for one in people
        ]
        records = [{"messageId": str(n), "body": json.dumps(wake)} for n, wake in enumerate(wakes)]
        started = time.monotonic()
        answer = stack.aws.client("lambda").invoke(
            FunctionName=stack.outputs["ReceiveEmailArn"], Payload=json.dumps({"Records": records})
        )
        wall = time.monotonic() - started
        said = json.loads(answer["Payload"].read())
        if said != {"batchItemFailures": []}:
            raise Failed(f"{FUNCTION} answered {said}; read {stack.aws.log}")
        mailrail.expect(len(people))
    processor, peak = _end_processes(stack)
    return Sample(wall, processor, peak, 0, 0, 0, None, 0)


def _end_processes(stack: Stack) -> tuple[float, int]:
    """Ends the function's process, so that the next case gets a new one, and returns its CPU time and peak memory."""
    home = stack.folder / "ministack"
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "exe").readlink().is_relative_to(home):
                found.append(process)
        except OSError:
            continue
    if len(found) != 1:
        raise Failed(f"{FUNCTION} has {len(found)} processes below {home}; it must be one")
    peak = PEAK.search((found[0] / "status").read_text())
    spent = (found[0] / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
    os.kill(int(found[0].name), 15)
    assert peak is not None
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK"), int(peak[1])
