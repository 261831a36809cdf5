"""This program ends a run's servers if the run was killed, because a killed run cannot end them itself.

It reads one server per line of its standard input, as JSON: the server's process group, and the command that stops the
server, where there is one. If the input ends without the line `stopped`, the run was killed.
"""

import json
import signal
import sys

from .ending import end_group, run_stop_command

STOPPED = "stopped"


def line(group: int, stop_command: list[str] | None) -> str:
    return json.dumps({"group": group, "stop": stop_command})


def main() -> None:
    # The guard ends after the run, so it outlives Ctrl-C and the end of the terminal.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
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
