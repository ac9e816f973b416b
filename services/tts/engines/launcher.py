"""Becomes another program, which writes no file and dies with the process that started it.

python -I launcher.py <process id of the parent> <most address space in bytes> program arguments...
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, memory_bytes, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # holds across exec (prctl(2))
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    limits = ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0))
    for what, most in limits:
        resource.setrlimit(what, (most, most))
    os.execvp(command[0], command)  # noqa: S606 - the one thing this program is for


if __name__ == "__main__":
    main()
