"""Piper (https://github.com/OHF-Voice/piper1-gpl) in a process of its own, which stays and is spoken to by lines.

It is GPL-3.0-or-later, so nothing of it is imported: this module knows its command line only (docs/adr/0011). With
`--output-raw` the sound of all lines runs together, and with `--debug` every line is told on standard error before its
sound is made. So a line without any sound follows each sentence; once that is told, the sentence is complete.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from services.tts.engines import Capabilities, Sound, program
from services.tts.settings import Settings
from shared.errors import DeadlineExceeded, ModelLost, ModelNotReady
from shared.schemas.tts import Voice

log = logging.getLogger(__name__)
VOICES = "piper-*/*.onnx"
"""Below MODELS_DIR, each with its `.onnx.json` beside it."""
END = "[[]]"
"""A pair of brackets with no phonemes in it: no sound, but a line in the log."""
END_TOLD = f"text={END}, phonemes=[]".encode()
READ_BYTES = 65_536


class Piper:
    """One process at a time: another voice ends that of the one before."""

    def __init__(self, settings: Settings) -> None:
        self._python = _python(settings)
        self._deadline_s = settings.sentence_deadline_s
        self._models = dict(_voices(settings.models_dir))
        if not self._models:
            raise ModelNotReady("There is no voice for piper; fetch one with `nemo models pull piper-joe`.")
        self.capabilities = Capabilities("piper", tuple(_voice(name, path) for name, path in self._models.items()))
        self._process: Process | None = None
        self._speaks = ""

    def speak(self, sentence: str, voice: str) -> Sound:
        """A process that was found dead is replaced once."""
        for last in (False, True):
            process = self._process_of(voice)
            try:
                return process.speak(sentence, self._deadline_s)
            except ModelLost:
                self.close()
                if last:
                    raise
                log.warning("the voice's process ended; it is started again")
            except BaseException:
                self.close()
                raise
        raise AssertionError

    def close(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _process_of(self, voice: str) -> Process:
        if self._process is None or self._speaks != voice:
            self.close()
            command = [self._python, "-I", "-B", "-X", "utf8", "-m", "piper", "--output-raw", "--debug"]
            self._process, self._speaks = Process([*command, "--model", str(self._models[voice])]), voice
        return self._process


class Process:
    """Lines in, bare 16-bit samples out."""

    def __init__(self, command: Sequence[str]) -> None:
        self._popen = program.started(command)
        self._sound, self._log = _descriptor(self._popen, "stdout"), _descriptor(self._popen, "stderr")
        for each in (self._sound, self._log):
            os.set_blocking(each, False)

    def speak(self, sentence: str, deadline_s: float) -> Sound:
        if END in sentence or "\n" in sentence:
            raise ValueError("brackets and line ends belong to the protocol")
        try:
            os.write(_descriptor(self._popen, "stdin"), f"{sentence}\n{END}\n".encode())
        except BrokenPipeError as error:
            raise self._lost() from error
        return np.frombuffer(self._until_end(time.monotonic() + deadline_s, deadline_s), dtype="<i2")

    def _until_end(self, at: float, deadline_s: float) -> bytes:
        sound, told = bytearray(), b""
        with selectors.DefaultSelector() as selector:
            for each in (self._sound, self._log):
                selector.register(each, selectors.EVENT_READ)
            while END_TOLD not in told:
                ready = [key.fd for key, _ in selector.select(max(0.0, at - time.monotonic()))]
                if not ready or time.monotonic() > at:
                    raise DeadlineExceeded(f"Speaking one sentence took longer than {deadline_s:g} s.")
                if self._log in ready:  # what it holds may be what a user wrote: it is kept nowhere
                    told = told[-len(END_TOLD) :] + self._read(self._log)
                if self._sound in ready:
                    sound += self._read(self._sound)
        # All of it was in the pipe before the end was told.
        while more := self._left():
            sound += more
        return bytes(sound)

    def _read(self, descriptor: int) -> bytes:
        found = os.read(descriptor, READ_BYTES)
        if not found:
            raise self._lost()
        return found

    def _left(self) -> bytes:
        try:
            return os.read(self._sound, READ_BYTES)
        except BlockingIOError:
            return b""

    def _lost(self) -> ModelLost:
        self.stop()
        return ModelLost(f"The voice's process ended with code {self._popen.returncode}; try again.")

    def stop(self) -> None:
        program.stop(self._popen)

    @property
    def pid(self) -> int:
        return self._popen.pid


def _descriptor(process: subprocess.Popen[bytes], name: str) -> int:
    return int(getattr(process, name).fileno())


def _python(settings: Settings) -> str:
    if settings.piper_python is not None:
        if not settings.piper_python.is_file():
            raise ModelNotReady(f"TTS_PIPER_PYTHON names {settings.piper_python}, which is not a file.")
        return str(settings.piper_python)
    if find_spec("piper") is None:
        raise ModelNotReady("piper-tts is not installed; `pip install piper-tts==1.8.0` brings it.")
    return sys.executable


def _voices(models_dir: Path) -> Iterator[tuple[str, Path]]:
    """Short name (`joe` of `en_US-joe-medium`) and path; the whole name where two would be the same."""
    taken = set()
    for path in sorted(models_dir.glob(VOICES)):
        if path.with_name(f"{path.name}.json").is_file():
            short = path.stem.split("-")[1] if path.stem.count("-") == 2 else path.stem
            name = path.stem if short in taken else short
            taken.add(name)
            yield name, path.resolve()


def _voice(name: str, path: Path) -> Voice:
    facts = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
    rate_hz, language = int(facts["audio"]["sample_rate"]), str(facts["espeak"]["voice"])
    return Voice(id=name, name=path.stem, language=language, engine="piper", sample_rate_hz=rate_hz)
