"""Exchange Online: requests of a first synchronization and of idle checks, against the tenant's test server."""

from pathlib import Path

from ..progress import say, step
from .parts import once
from .table import table

MESSAGES = 4_000
# Microsoft's delta query: with a warm token, one request tells that nothing is new.
IDLE_REQUESTS_MAX = 1


def measure(program: Path) -> None:
    with step(f"Exchange Online: {MESSAGES} messages, with the test server in the same process"):
        seen = once(program, "online", MESSAGES)
    first, idle = seen["first"], seen["idle"]
    each = idle["requests"] / idle["checks"]
    say()
    say("Exchange Online (client and test server in one process, so no peer and no CPU of one's own)")
    table(
        ["work", "seconds", "requests", "messages/s"],
        [
            ["first synchronization", f"{first['seconds']:.2f}", first["requests"], f"{MESSAGES / first['seconds']:.0f}"],
            ["one idle check", f"{idle['seconds'] / idle['checks']:.4f}", f"{each:g}", "-"],
        ],
    )
    reached = "reached" if each <= IDLE_REQUESTS_MAX else "NOT REACHED"
    say(f"  requests of an idle check with a warm token: {each:g}, target <= {IDLE_REQUESTS_MAX}: {reached}")
    say(f"  sign-ins in all: {seen['sign_ins']}")
