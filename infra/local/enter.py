"""Makes the virtual environment of the local stack, once, and carries on inside it.

Standard library only, and readable by old interpreters, so that the wrong one is told what is wrong.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(os.path.dirname(os.path.dirname(HERE)), ".local", "venv")
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
STAMP = os.path.join(VENV, "made-from")


def main():
    if sys.version_info < (3, 11):
        sys.exit(
            "error: Python %d.%d is too old; install Python 3.11 or newer and make it `python3`" % sys.version_info[:2]
        )
    if not sys.platform.startswith("linux"):
        sys.exit("error: the local stack runs on Linux only; use a Debian or Ubuntu machine, container or VM")
    python = os.path.join(VENV, "bin", "python")
    if not is_current():
        make(python)
    os.environ["PYTHONPATH"] = HERE
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(python, [python, "-m", "mailrail_local." + sys.argv[1], *sys.argv[2:]])


def source():
    """What the environment is made from: it is made anew when the pins or the interpreter change."""
    with open(REQUIREMENTS, "rb") as pins:
        return hashlib.sha256(pins.read()).hexdigest() + " " + sys.version.split()[0] + " " + VENV


def is_current():
    try:
        with open(STAMP) as stamp:
            return stamp.read() == source()
    except OSError:
        return False


def make(python):
    started = time.monotonic()
    print("Python packages of the local stack: installing into .local/venv, about half a minute", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [
                python,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
                REQUIREMENTS,
            ],
            check=True,
        )
    except subprocess.CalledProcessError as failed:
        hint = (
            "install it with: apt-get install python3-venv"
            if "venv" in failed.cmd
            else "see pip's message above, then run this again"
        )
        sys.exit("error: the virtual environment could not be made; " + hint)
    # Last, so that an interrupted installation is never taken for a finished one.
    with open(STAMP, "w") as stamp:
        stamp.write(source())
    print("Python packages of the local stack: installed (%.0f s)" % (time.monotonic() - started), flush=True)


if __name__ == "__main__":
    main()
