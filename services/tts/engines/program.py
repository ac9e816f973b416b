"""Foreign programs, started without our secrets and by way of the launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.settings import plain_environment

_LAUNCHER = Path(__file__).with_name("launcher.py")
MEMORY_BYTES = 4 * 1024**3


def started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """The program with unbuffered pipes on all three sides; texts go through these, since `ps` shows arguments."""
    launch = [sys.executable, "-I", str(_LAUNCHER), str(os.getpid()), str(MEMORY_BYTES)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*launch, *command], stdin=pipe, stdout=pipe, stderr=pipe, env=plain_environment(), cwd="/", bufsize=0
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill, wait, and let go of the pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
