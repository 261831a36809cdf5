"""This file builds and packs the functions, because the template takes them as zip archives."""

import hashlib
import io
import zipfile
from dataclasses import dataclass

from . import processes
from .paths import BOOTSTRAPS, FUNCTIONS, ROOT, cargo_target
from .progress import Failed, step

# A fixed date makes the same archive of the same bytes, so that an unchanged function is not deployed again.
EPOCH = (1980, 1, 1, 0, 0, 0)
EXECUTABLE = 0o755 << 16
# How much zip compresses: little where the archive only goes to the emulator, and as `cargo lambda` does for AWS.
FAST, RELEASED = 1, 6


@dataclass(frozen=True)
class Archive:
    function: str
    content: bytes

    @property
    def key(self) -> str:
        return f"{self.function}/{hashlib.sha256(self.content).hexdigest()}.zip"


def build() -> None:
    """Builds the functions with the development profile, as the tests do, and makes stripped copies of them."""
    with step("functions: cargo build (a few minutes the first time)"):
        packages = [word for name in FUNCTIONS for word in ("--package", name)]
        if processes.run(["cargo", "build", "--locked", "--bins", *packages], folder=ROOT) != 0:
            raise Failed("the functions do not compile; cargo's messages above say why")
    with step("functions: stripping them into .local/functions"):
        for name in FUNCTIONS:
            _lay_out(name)


def _lay_out(name: str) -> None:
    built = cargo_target() / "debug" / name
    bootstrap = BOOTSTRAPS / name / "bootstrap"
    if bootstrap.exists() and bootstrap.stat().st_mtime >= built.stat().st_mtime:
        return
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    fresh = bootstrap.with_suffix(".new")
    if processes.run(["objcopy", "--strip-debug", str(built), str(fresh)]) != 0:
        raise Failed(f"objcopy could not strip {built}; install it with: apt-get install binutils")
    fresh.replace(bootstrap)


def pack() -> list[Archive]:
    return [Archive(name, zipped((BOOTSTRAPS / name / "bootstrap").read_bytes())) for name in FUNCTIONS]


def placeholders() -> list[Archive]:
    """Code for functions that never run, because their invocations go somewhere else."""
    return [Archive(name, zipped(b"#!/bin/sh\nexit 1\n")) for name in FUNCTIONS]


def zipped(bootstrap: bytes, level: int = FAST) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap", EPOCH)
        entry.external_attr = EXECUTABLE
        archive.writestr(entry, bootstrap, zipfile.ZIP_DEFLATED, compresslevel=level)
    return packed.getvalue()
