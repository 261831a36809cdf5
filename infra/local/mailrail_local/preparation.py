"""This file installs what a command needs and then runs it, because the user has to see the whole list first.

It uses the standard library alone, since it runs before any Python package is installed.
"""

import importlib.util
import os
import shutil
import textwrap
from dataclasses import dataclass, field

from . import packages, prism
from .command import carry_out
from .environments import CARGO_LAMBDA, STACK, Environment
from .paths import CONTRACTS, LOCAL_STACK, ROOT
from .progress import Failed, say

LINE_LENGTH = 100


@dataclass(frozen=True)
class Needs:
    """What a command needs besides Python and Rust."""

    debian: list[str] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=lambda: [STACK])
    rust: bool = True
    # The programs that check requests against Microsoft's contracts, if those are beside the checkout.
    contracts: bool = False


MAIL = packages.MAIL_SERVERS + packages.TOOLS
NEEDS = {
    "demo": Needs(MAIL),
    "test": Needs(MAIL + packages.OLD_IMAP_SERVER, [STACK, CARGO_LAMBDA], contracts=True),
    "watch": Needs(MAIL, [STACK, CARGO_LAMBDA]),
    "bench": Needs(MAIL + packages.PEERS),
    "bench.functions": Needs(),
}
# What it takes to print the help of a command.
NOTHING = Needs(rust=False)


def enter(command: str, arguments: list[str]) -> None:
    """Prepares a command and becomes it."""
    carry_out(lambda: _enter(command, arguments))


def _enter(command: str, arguments: list[str]) -> None:
    wants_help = bool({"-h", "--help"} & set(arguments))
    _prepare(NOTHING if wants_help else NEEDS[command])
    environment = {**os.environ, "PYTHONPATH": str(LOCAL_STACK), "PYTHONDONTWRITEBYTECODE": "1"}
    python = str(STACK.python)
    os.execve(python, [python, "-m", f"mailrail_local.{command}", *arguments], environment)


def _prepare(needs: Needs) -> None:
    """Prints what is missing, and then installs it. If nothing is missing, it prints nothing."""
    if needs.rust and shutil.which("cargo") is None:
        raise Failed("cargo is not on the PATH; install Rust from https://rustup.rs and open a new shell")
    needs_contracts = needs.contracts and CONTRACTS.is_dir()
    debian = packages.missing(_debian(needs, needs_contracts))
    environments = [one for one in needs.environments if not one.is_current()]
    needs_prism = needs_contracts and not prism.is_current()
    plan = []
    if debian:
        plan.append(f"Debian packages (root's rights are needed): {', '.join(debian)}, and what these need")
    plan += [f"in {one.folder.relative_to(ROOT)}: {one.contents}" for one in environments]
    if needs_prism:
        plan.append(f"in {prism.FOLDER.relative_to(ROOT)}: {prism.contents()}")
    if plan:
        say("To be installed:")
    for line in plan:
        say(textwrap.fill(line, LINE_LENGTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False))
    if debian:
        packages.install(debian)
    for environment in environments:
        environment.make()
    if needs_prism:
        prism.install()


def _debian(needs: Needs, needs_contracts: bool) -> list[str]:
    wanted = list(needs.debian)
    if importlib.util.find_spec("ensurepip") is None:
        wanted.append("python3-venv")
    # These programs may have come in another way than as Debian packages.
    if needs.rust and shutil.which("cc") is None:
        wanted += packages.LINKER
    if needs_contracts and shutil.which("npm") is None:
        wanted += packages.NPM
    return wanted + (packages.XML_VALIDATOR if needs_contracts else [])
