"""The inside: a program of its own, under limits, with nothing open but one file to read and one to write.

It runs `work(file, output, limits)` of one module and says its answer as one line of JSON on standard output. A crash,
a bomb or a hang ends this process and nothing else; once the limits hold it cannot open a file or a socket.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from typing import Any


class Refused(Exception):
    """The file cannot or must not be read; `code` says of which kind the reason is."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def limit_myself(limits: dict[str, Any]) -> None:
    die_with_parent()
    for what, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_FSIZE, limits["output_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),  # nothing can be opened from here on, no file and no socket
    ):
        resource.setrlimit(what, (value, value))


def die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    """Arguments: name of the module, file descriptors of the input and of the output, limits as JSON."""
    module = importlib.import_module(sys.argv[1])
    file, output, limits = os.fdopen(int(sys.argv[2]), "rb"), int(sys.argv[3]), json.loads(sys.argv[4])
    module.warm_up()
    limit_myself(limits)
    try:
        end = {"ok": True} | module.work(file, output, limits)
    except Refused as refused:
        end = {"ok": False, "code": refused.code, "detail": str(refused)}
    except MemoryError:
        end = {"ok": False, "code": "unreadable", "detail": "Reading the file takes more memory than allowed."}
    sys.stdout.write(json.dumps(end) + "\n")
