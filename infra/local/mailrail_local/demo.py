"""This program is the command `infra/local/demo`, because somebody new wants to see Mailrail work in one step."""

import argparse
from pathlib import Path

from . import demonstration, functions, own_mailbox, processes, stack
from .command import carry_out
from .progress import say


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/demo", description="Starts Mailrail on this machine, shows what it does, and stops it."
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep mailboxes, emails and mail for the next start with --keep"
    )
    parser.add_argument(
        "--serve", action="store_true", help="stay up until Ctrl-C, with the console's address and token on the screen"
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="synchronize your own mailbox, described in FILE (TOML or JSON), instead of the demonstration; "
        f"its password is taken from {own_mailbox.PASSWORD_VARIABLE}, or asked for",
    )
    options = parser.parse_args()
    carry_out(lambda: demo(options))


def demo(options: argparse.Namespace) -> None:
    own = own_mailbox.read(options.profile) if options.profile else None
    functions.build()
    with stack.up(stack.Wish("demo", functions.pack(), keep=options.keep)) as (running, servers):
        if own:
            own_mailbox.synchronize(running, own)
        else:
            demonstration.Demonstration(running).run()
        if options.serve:
            serve(running, servers)
    say()
    say("Everything was seen, and everything is stopped." if own is None else "Everything is stopped.")


def serve(running: stack.Stack, servers: processes.Processes) -> None:
    say()
    say(f"Console:  {running.console_url}")
    say(f"Token:    {running.console_token}")
    say(f"          curl -H 'Authorization: Bearer {running.console_token}' {running.console_url}/v1/mailboxes")
    say("Ctrl-C stops everything.")
    try:
        processes.sleep_until_interrupted(servers)
    except KeyboardInterrupt:
        say()


if __name__ == "__main__":
    main()
