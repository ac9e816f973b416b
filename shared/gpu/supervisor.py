"""The process that looks after the model's process. It loads no runtime itself, so it can always kill the other."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared import tracing
from shared.errors import ModelFailed, ModelLost, from_problem
from shared.gpu.child import HEAD, SILENCE_S, frame
from shared.settings import ROOT, plain_environment
from shared.telemetry import here

log = logging.getLogger(__name__)
PULSE_S = SILENCE_S / 6
MOST_BYTES = 256 * 1024**2
"""Of one answer; a model's process that claims more is broken."""
PARKED_BYTES = {"cpu": 128 * 1024**2, "cuda": 768 * 1024**2}
"""What a parked model's process still takes: its interpreter and runtime; on a GPU the context of CUDA."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Main memory of a process, 0 where there is none."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def gpu_bytes(pid: int) -> int:
    """Device memory of a process as the driver tells it; 0 where it does not."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        told = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        rows = [line.split(",") for line in told.splitlines() if "," in line]
        return sum(int(used) * 1024**2 for each, used in rows if int(each) == pid)
    return 0


class ModelChild:
    """One model in a process of its own: `wake`, `call`, `park`, `kill`."""

    def __init__(
        self,
        opener: str,
        settings: Mapping[str, Any],
        *,
        name: str = "model",
        measure: Callable[[int], int] = resident_bytes,
    ) -> None:
        """`opener`: `module:function` for the child. `settings` cross as JSON: no secrets."""
        self._opener, self._name, self._measure = opener, name, measure
        self._settings = json.loads(json.dumps(dict(settings), default=str))
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._answers: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._number = 0
        self._beside: list[asyncio.Task[None]] = []
        self.facts: Any = None
        """What the model said of itself when it was loaded."""
        self.on_death: Callable[[], None] = lambda: None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.alive else None

    def used_bytes(self) -> int:
        """Blocking for a GPU: the driver is asked."""
        return self._measure(self._process.pid) if self._process is not None and self.alive else 0

    async def wake(self) -> None:
        """Raises ModelOutOfMemory, ModelLost, or what the model says is missing."""
        with here().timed("nemo_model_wake_seconds"):
            if not self.alive:
                await self._start()
            self.facts = await self._ask({"do": "load", "settings": self._settings})

    async def park(self) -> None:
        """The memory is free when it returns, but for what the process itself takes."""
        if self.alive:
            with here().timed("nemo_model_park_seconds"):
                await self._ask({"do": "unload"})

    async def kill(self) -> None:
        """The process is gone when it returns. Never raises."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
        for task in self._beside:
            task.cancel()
        self._beside = []
        self._lost()

    async def call(self, name: str, *, samples: tuple[str, NDArray[np.float32]] | None = None, **arguments: Any) -> Any:
        """What the model answers, as plain JSON. `samples`: the argument that is sound, and the sound."""
        message = {"do": "call", "name": name, "arguments": arguments, "samples": samples[0] if samples else None}
        sound = np.ascontiguousarray(samples[1], dtype=np.float32).tobytes() if samples else b""
        with tracing.span(f"model {name}"):
            return await self._ask(message, sound)

    async def stream(self, name: str, **arguments: Any) -> AsyncGenerator[Any, None]:
        """Pieces as they come; closing it stops the model after the piece in hand."""
        number, answers = await self._send({"do": "call", "name": name, "arguments": arguments})
        ended, span = False, tracing.begun(f"model {name}")
        try:
            while not ended:
                answer = await answers.get()
                ended = "piece" not in answer
                if not ended:
                    yield answer["piece"]
                else:
                    _value(answer)
        finally:
            span.end()
            if not ended:
                await self._stop(number, answers)
            self._answers.pop(number, None)

    async def _stop(self, number: int, answers: asyncio.Queue[dict[str, Any]]) -> None:
        with suppress(ModelLost):
            await self._write(frame({"do": "stop", "id": number}))
            while "piece" in await answers.get():
                pass

    async def _ask(self, message: dict[str, Any], sound: bytes = b"") -> Any:
        number, answers = await self._send(message, sound)
        try:
            return _value(await answers.get())
        finally:
            self._answers.pop(number, None)

    async def _send(self, message: dict[str, Any], sound: bytes = b"") -> tuple[int, asyncio.Queue[dict[str, Any]]]:
        if not self.alive:
            raise ModelLost
        self._number += 1
        number = self._number
        self._answers[number] = asyncio.Queue()
        await self._write(frame(message | {"id": number}, sound))
        return number, self._answers[number]

    async def _write(self, data: bytes) -> None:
        if self._writer is None:
            raise ModelLost
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ModelLost from error

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "shared.gpu.child", str(theirs.fileno()), self._opener, self._name,
                stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),), cwd=ROOT,
                env=plain_environment() | {"OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
        here().count("nemo_model_starts_total")
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._beside = [
            asyncio.create_task(self._read(reader, self._process)),
            asyncio.create_task(self._pulse(self._writer)),
        ]

    async def _pulse(self, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(PULSE_S)
                writer.write(frame({"do": "pulse"}))

    async def _read(self, reader: asyncio.StreamReader, process: asyncio.subprocess.Process) -> None:
        try:
            while True:
                text, rest = HEAD.unpack(await reader.readexactly(HEAD.size))
                if text + rest > MOST_BYTES:
                    break
                answer = json.loads(await reader.readexactly(text))
                await reader.readexactly(rest)
                if answer["id"] in self._answers:
                    self._answers[answer["id"]].put_nowait(answer)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, KeyError, TypeError):
            pass
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
        if self._process is process:
            log.warning("the model's process ended", extra={"code": process.returncode})
            here().count("nemo_model_deaths_total")
            self._lost()
            self.on_death()

    def _lost(self) -> None:
        """Whoever waits for an answer hears that there will be none."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for answers in self._answers.values():
            answers.put_nowait({"error": ModelLost.code, "detail": None})


def _value(answer: Mapping[str, Any]) -> Any:
    if "error" not in answer:
        return answer.get("value")
    told = {"code": answer["error"], "detail": answer.get("detail"), "errors": answer.get("errors")}
    error = from_problem(told, status=503)
    raise error if answer["error"] != "failed" else ModelFailed
