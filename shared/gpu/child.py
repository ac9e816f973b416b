"""The model's own process: loads, computes, lets go, and dies with the supervisor that started it.

    python -m shared.gpu.child <fd of a socket> <module:function>

The function takes the settings and answers what can be called, by name. One call at a time, but for streams that say
they go beside the others (`Beside`); while it runs, another thread hears `stop` and the supervisor's pulse. Only JSON
and bare samples cross the socket: what a model's file makes of this process must not reach into the supervisor, which
has the secrets.

A frame is two lengths (big endian, 4 bytes each), that many bytes of JSON, that many bytes of float32 samples.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import queue
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
from pydantic_core import from_json, to_json

from shared import logging as our_logging
from shared.errors import ModelOutOfMemory, ProductError
from shared.gpu.beside import Beside

log = logging.getLogger(__name__)
Calls = Mapping[str, Callable[..., Any]]
"""What a loaded model can be asked. `park` and `wake`, where there are both, let go of the device's memory and take it
again, with the weights kept on the host; else `close`, where there is one, lets go of everything."""
HEAD = struct.Struct("!II")
SILENCE_S = 12.0
"""Without a pulse for so long the supervisor is frozen or gone: the memory must not outlive its lease."""
_ENOUGH = ("out of memory", "cannot allocate", "bad_alloc")


def frame(message: Mapping[str, Any], samples: bytes = b"") -> bytes:
    text = to_json(message, inf_nan_mode="null")
    return HEAD.pack(len(text), len(samples)) + text + samples


class Line:
    """The supervisor's end of the socket, read by one thread, written by any."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire, self._writing = wire, threading.Lock()
        wire.settimeout(SILENCE_S)

    def send(self, message: Mapping[str, Any]) -> None:
        with self._writing:
            self._wire.sendall(frame(message))

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Raises EOFError where nobody is there any more, TimeoutError after the silence."""
        text, samples = HEAD.unpack(self._exactly(HEAD.size))
        return from_json(self._exactly(text)), self._exactly(samples)

    def _exactly(self, size: int) -> bytes:
        found = bytearray(size)
        view = memoryview(found)
        while view:
            got = self._wire.recv_into(view)
            if got == 0:
                raise EOFError
            view = view[got:]
        return bytes(found)


class Child:
    """Serves until the line ends."""

    def __init__(self, line: Line, opener: Callable[[Any], Calls]) -> None:
        self._line, self._opener = line, opener
        self._calls: Calls | None = None
        self._parked = False
        self._work: queue.Queue[tuple[dict[str, Any], bytes]] = queue.Queue()
        self._stopped: set[int] = set()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="line", daemon=True).start()
        while True:
            self._answer(*self._work.get())

    def _listen(self) -> None:
        try:
            while True:
                message, samples = self._line.receive()
                if message["do"] == "stop":
                    self._stopped.add(message["id"])
                elif message["do"] != "pulse":
                    self._work.put((message, samples))
        except BaseException:
            os._exit(0)

    def _answer(self, message: dict[str, Any], samples: bytes) -> None:
        self._said(message["id"], lambda: self._done(message, samples))

    def _said(self, number: int, done: Callable[[], Any]) -> None:
        """What became of a call, to the supervisor."""
        beside = False
        try:
            value = done()
            beside = isinstance(value, Beside)
            if beside:
                self._go_beside(number, value.pieces)
            else:
                self._line.send({"id": number, "value": value})
        except ProductError as error:
            told = [each.model_dump() for each in error.errors]
            self._line.send({"id": number, "error": error.code, "detail": error.detail, "errors": told})
        except Exception as error:  # carried over to the supervisor's side
            full = isinstance(error, MemoryError) or any(word in str(error).lower() for word in _ENOUGH)
            code = ModelOutOfMemory.code if full else "failed"
            log.exception("the model failed", extra={"kind": type(error).__name__})
            self._line.send({"id": number, "error": code, "detail": None})
        finally:
            if not beside:
                self._stopped.discard(number)

    def _go_beside(self, number: int, pieces: Iterator[Any]) -> None:
        send = partial(self._said, number, partial(self._streamed, number, pieces))
        threading.Thread(target=send, name=f"stream {number}", daemon=True).start()

    def _done(self, message: dict[str, Any], samples: bytes) -> Any:
        if message["do"] == "load":
            return self._load(message["settings"])
        if message["do"] == "unload":
            return self._unload()
        if self._calls is None or self._parked:
            raise RuntimeError("called while it was not loaded")
        arguments = dict(message["arguments"])
        if message.get("samples"):
            arguments[message["samples"]] = np.frombuffer(samples, dtype=np.float32)
        found = self._calls[message["name"]](**arguments)
        return self._streamed(message["id"], found) if isinstance(found, Iterator) else found

    def _streamed(self, number: int, pieces: Iterator[Any]) -> None:
        for piece in pieces:
            self._line.send({"id": number, "piece": piece})
            if number in self._stopped:
                break
        close = getattr(pieces, "close", None)
        if close is not None:
            close()

    def _load(self, settings: dict[str, Any]) -> Any:
        if self._calls is None:
            self._calls = self._opener(SimpleNamespace(**settings))
        elif self._parked:
            self._calls["wake"]()
        self._parked = False
        facts = self._calls.get("facts")
        return facts() if facts is not None else None

    def _unload(self) -> None:
        if self._calls is not None and {"park", "wake"} <= self._calls.keys():
            self._calls["park"]()
            self._parked = True
            give_back()
            return
        calls, self._calls = self._calls, None
        if calls is not None and "close" in calls:
            calls["close"]()
        del calls
        gc.collect()
        give_back()


def give_back() -> None:
    """Freed memory to the system; glibc would keep it for later."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> int:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    our_logging.configure(sys.argv[3] if len(sys.argv) > 3 else "model", "INFO")
    module, _, name = sys.argv[2].partition(":")
    line = Line(socket.socket(fileno=int(sys.argv[1])))
    Child(line, getattr(import_module(module), name)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
