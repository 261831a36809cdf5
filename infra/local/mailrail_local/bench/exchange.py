"""This file shows how many requests Exchange takes, because Microsoft limits requests and no peer reads Exchange."""

from pathlib import Path

from ..progress import say, step
from .parts import once
from .table import table

MESSAGES = 4_000
# With a warm token, one delta query tells that nothing is new. Web services take one request for that, too, and perhaps
# another one that signs the connection in by NTLM.
IDLE_REQUESTS_MAX = {"online": 1, "server": 2}
NAMES = {"online": "Exchange Online", "server": "Exchange Server"}


def measure(program: Path) -> None:
    with step(f"Exchange: {MESSAGES} messages each, with the test server in the same process"):
        seen = once(program, "exchange", MESSAGES)
    rows, targets = [], []
    for kind, name in NAMES.items():
        first, idle = seen[kind]["first"], seen[kind]["idle"]
        each = idle["requests"] / idle["checks"]
        speed = f"{MESSAGES / first['seconds']:.0f}"
        rows.append([f"{name}, first synchronization", f"{first['seconds']:.2f}", first["requests"], speed])
        rows.append([f"{name}, one idle check", f"{idle['seconds'] / idle['checks']:.4f}", f"{each:g}", "-"])
        most = IDLE_REQUESTS_MAX[kind]
        reached = "reached" if each <= most else "NOT REACHED"
        targets.append(f"  requests of an idle check of {name}: {each:g}, target <= {most}: {reached}")
    say()
    say("Exchange (client and test server are one process, so there is no CPU time of the client alone)")
    table(["work", "seconds", "requests", "messages/s"], rows)
    for target in targets:
        say(target)
    say(f"  sign-ins of Exchange Online in all: {seen['online']['sign_ins']}")
