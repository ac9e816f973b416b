"""The inside: a program of its own, under limits, with nothing open but one file to read and one to write.

It runs `work(file, output, limits)` of one module and says its answer as one line of JSON on standard output. A crash,
a bomb or a hang ends this process and nothing else; once the limits hold it cannot open a file or a socket.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any, BinaryIO


class Refused(Exception):
    """The file cannot or must not be read; `code` says of which kind the reason is."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


_ASKED = struct.Struct(">QQ")
_AHEAD_BYTES = 256 * 1024


class Served(io.RawIOBase):
    """A file whose bytes come from the process outside; see `run_served` there."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._socket, self._size, self._at = socket.socket(fileno=descriptor), size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, into: Any, /) -> int:
        view = memoryview(into).cast("B")[: max(0, self._size - self._at)]
        if not view:
            return 0
        self._socket.sendall(_ASKED.pack(self._at, self._at + len(view)))
        left = view
        while left:
            count = self._socket.recv_into(left)
            if count == 0:
                raise OSError("the file is not served any more")
            left = left[count:]
        self._at += len(view)
        return len(view)


def given(descriptor: int, limits: dict[str, Any]) -> BinaryIO:
    """The one file to read."""
    if "source_bytes" in limits:
        return io.BufferedReader(Served(descriptor, limits["source_bytes"]), _AHEAD_BYTES)
    return os.fdopen(descriptor, "rb")


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
    output, limits = int(sys.argv[3]), json.loads(sys.argv[4])
    file = given(int(sys.argv[2]), limits)
    module.warm_up()
    limit_myself(limits)
    try:
        end = {"ok": True} | module.work(file, output, limits)
    except Refused as refused:
        end = {"ok": False, "code": refused.code, "detail": str(refused)}
    except MemoryError:
        end = {"ok": False, "code": "unreadable", "detail": "Reading the file takes more memory than allowed."}
    sys.stdout.write(json.dumps(end) + "\n")
