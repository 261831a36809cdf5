"""The function binaries: built by cargo, laid out as `cargo lambda build` does, and packed for the upload."""

import hashlib
import io
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .paths import BOOTSTRAPS, FUNCTIONS, ROOT, cargo_target
from .progress import Failed, step

# The same bytes give the same archive, so that an unchanged function is not deployed again.
EPOCH = (1980, 1, 1, 0, 0, 0)
EXECUTABLE = 0o755 << 16


@dataclass(frozen=True)
class Archive:
    function: str
    content: bytes

    @property
    def key(self) -> str:
        return f"{self.function}/{hashlib.sha256(self.content).hexdigest()}.zip"


def need_cargo() -> None:
    if shutil.which("cargo") is None:
        raise Failed("cargo is not on the PATH; install Rust from https://rustup.rs and open a new shell")


def build() -> None:
    """Builds the functions with the development profile, which the tests share, and strips copies of them."""
    need_cargo()
    with step("functions: cargo build (a few minutes the first time)"):
        packages = [word for name in FUNCTIONS for word in ("--package", name)]
        if processes.run(["cargo", "build", "--locked", "--bins", *packages], folder=ROOT) != 0:
            raise Failed("the functions do not compile; cargo's messages above say why")
    with step("functions: stripping them into target/lambda"):
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
    os.replace(fresh, bootstrap)


def pack(bootstraps: Path = BOOTSTRAPS) -> list[Archive]:
    return [Archive(name, _zip(bootstraps / name / "bootstrap")) for name in FUNCTIONS]


def placeholders() -> list[Archive]:
    """Code for functions whose invocations are handed to somebody else, and which therefore never run."""
    return [Archive(name, _zip_bytes(b"#!/bin/sh\nexit 1\n")) for name in FUNCTIONS]


def _zip(bootstrap: Path) -> bytes:
    return _zip_bytes(bootstrap.read_bytes())


def _zip_bytes(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap", EPOCH)
        entry.external_attr = EXECUTABLE
        # Fast rather than small: it travels to the next process.
        archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed.getvalue()
