"""Ends a run's servers when the run itself was killed before it could.

Reads one server to a line from its standard input, as JSON: its process group, and the command that stops it where
it has one. The end of that input without the line `stopped` means that the writer is gone.
"""

import json
import signal
import sys

STOPPED = "stopped"


def line(group: int, stop_command: list[str] | None) -> str:
    return json.dumps({"group": group, "stop": stop_command})


def main() -> None:
    # Neither Ctrl-C nor the end of the terminal: the guard goes last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    from .processes import end_group, run_stop_command

    servers = []
    for told in sys.stdin:
        if told.strip() == STOPPED:
            return
        servers.append(json.loads(told))
    for server in reversed(servers):
        if server["stop"]:
            run_stop_command(server["stop"])
        end_group(server["group"])


if __name__ == "__main__":
    main()
