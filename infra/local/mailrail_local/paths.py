"""Where things are: what the repository holds, and the one ignored folder that everything made at run time goes to."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "infra" / "template.yaml"
BOOTSTRAPS = ROOT / "target" / "lambda"
LOCAL = ROOT / ".local"
# The reference shelf beside the checkout, where there is one: contracts that tests check against.
CONTRACTS = ROOT.parent / "shared" / "reference" / "contracts"

FUNCTIONS = ["enqueue-mailboxes", "receive-email", "send-email", "test-mailboxes", "notify-owners", "console"]


def cargo_target() -> Path:
    """Cargo's own target folder, wherever its environment puts it."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


def run_folder(name: str) -> Path:
    """The folder of one kind of run, such as `demo`, kept out of git even where the project is not."""
    folder = LOCAL / name
    folder.mkdir(parents=True, exist_ok=True)
    ignore = LOCAL / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return folder
