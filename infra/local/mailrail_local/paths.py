"""This file names the folders of the repository, because several files need each of them."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# This package, its requirements and its settings.
LOCAL_STACK = ROOT / "infra" / "local"
TEMPLATE = ROOT / "infra" / "template.yaml"
# Everything that is made at run time is below this folder, which git ignores.
LOCAL = ROOT / ".local"
# The functions that the local stack runs. They are debug builds, so they stay out of `target/lambda`, where
# `cargo lambda build --release` puts what is deployed.
BOOTSTRAPS = LOCAL / "functions"
# Microsoft's contracts, which some tests check against. Most machines do not have them.
CONTRACTS = ROOT.parent / "shared" / "reference" / "contracts"

FUNCTIONS = ["enqueue-mailboxes", "receive-email", "send-email", "test-mailboxes", "notify-owners", "console"]


def cargo_target() -> Path:
    """The folder that cargo builds into."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


def run_folder(name: str) -> Path:
    """The folder of one kind of run, such as `demo`."""
    folder = LOCAL / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
