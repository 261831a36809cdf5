"""This program starts every command of infra/local, because an interpreter that is too old has to be told so.

Old interpreters must be able to read this file. Everything that it imports may be newer.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit("error: Python %d.%d is too old; install Python 3.11 or newer as `python3`" % sys.version_info[:2])
if not sys.platform.startswith("linux"):
    sys.exit("error: the local stack runs on Linux only; use a Debian or Ubuntu machine, container or VM")

from mailrail_local.preparation import enter

if __name__ == "__main__":
    enter(sys.argv[1], sys.argv[2:])
