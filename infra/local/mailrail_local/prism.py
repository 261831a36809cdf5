"""This file installs Prism from npm, because the contract tests check requests to Exchange Online with it."""

import json
import shutil
import subprocess

from .paths import LOCAL, LOCAL_STACK
from .progress import Failed, step

NPM_SECONDS_MAX = 600
MANIFEST = LOCAL_STACK / "node"
LOCK = "package-lock.json"
FOLDER = LOCAL / "node"
PROGRAM = FOLDER / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"


def contents() -> str:
    chosen = json.loads((MANIFEST / "package.json").read_text())["dependencies"]
    others = len(json.loads((MANIFEST / LOCK).read_text())["packages"]) - 1 - len(chosen)
    names = ", ".join(f"{name} {version}" for name, version in chosen.items())
    return f"{names}, and {others} npm packages that it needs"


def is_current() -> bool:
    return PROGRAM.exists() and (FOLDER / LOCK).read_bytes() == (MANIFEST / LOCK).read_bytes()


def install() -> None:
    with step(f"npm packages: installing into {FOLDER.name}"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", LOCK):
            shutil.copy(MANIFEST / name, FOLDER / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=FOLDER, timeout=NPM_SECONDS_MAX, check=False).returncode != 0:
            raise Failed(f"{' '.join(command)} failed in {FOLDER}; its messages above say why")
