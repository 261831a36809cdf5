"""This program is the command `infra/local/test`, because CI and developers run all checks and tests in one step."""

import argparse
import os

from . import functions, processes, stack, suite, watch
from .command import carry_out
from .progress import Failed, refuse, say


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra/local/test",
        description="Checks, builds and tests everything against the local stack.",
        epilog="The last line is `N passed, N failed`, summed over every test binary.",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="run the tests alone, without the checks of the code and of infra/local/watch",
    )
    parser.add_argument("--only", metavar="PATTERN", help="run only the tests whose name contains PATTERN")
    parser.add_argument(
        "--up", action="store_true", help="only bring the servers up, until Ctrl-C, for tests run by hand"
    )
    options = parser.parse_args()
    carry_out(lambda: test(options))


def test(options: argparse.Namespace) -> int:
    if options.up:
        bring_up()
    checks_failed = [] if options.fast else suite.check()
    try:
        result = build_and_run(options.only)
    except Failed as failed:
        refuse(failed)
        result = suite.Result(cargo_failed=True)
    if not (options.fast or options.only):
        try:
            watch.check()
        except Failed as failed:
            refuse(failed)
            checks_failed.append("infra/local/watch")
    for check in checks_failed:
        say(f"failed check: {check}")
    # Scripts read this line, so it must be the last one and keep this form.
    say(f"{result.passed} passed, {result.failed} failed")
    return 1 if checks_failed or result.cargo_failed or result.failed or result.passed == 0 else 0


def bring_up() -> None:
    functions.build()
    with stack.up(stack.Wish("test", functions.pack(), with_test_servers=True)) as (running, servers):
        say()
        say(f"export {suite.STACK_VARIABLE}={running.description}")
        say("Ctrl-C stops everything.")
        processes.sleep_until_interrupted(servers)


def build_and_run(only: str | None) -> suite.Result:
    functions.build()
    with stack.up(stack.Wish("test", functions.pack(), with_test_servers=True)) as (running, _):
        result = suite.run({**os.environ, suite.STACK_VARIABLE: str(running.description)}, only)
    if result.cargo_failed and result.failed == 0:
        say("cargo test failed outside of any test; its messages above say why")
    return result


if __name__ == "__main__":
    main()
