"""Debian's espeak-ng, one short process a sentence: understandable, small, in a hundred languages."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave

import numpy as np

from services.tts.engines import Capabilities, Sound, program
from services.tts.settings import Settings
from shared.errors import DeadlineExceeded, ModelLost, ModelNotReady
from shared.schemas.tts import Voice

DEFAULT = "en-us"
RATE_HZ = 22_050
HEADER_BYTES = 44
UTF8 = ("-b", "1")


class Espeak:
    """Voices are named by their languages."""

    def __init__(self, settings: Settings) -> None:
        path = shutil.which("espeak-ng")
        if path is None:
            raise ModelNotReady("espeak-ng is not installed (Debian: `apt-get install espeak-ng`).")
        self._path, self._deadline_s = path, settings.sentence_deadline_s
        self.capabilities = Capabilities("espeak", self._voices())

    def speak(self, sentence: str, voice: str) -> Sound:
        encoded = self._said("--stdin", "--stdout", *UTF8, "-v", voice, text=sentence)
        if not encoded:
            return np.zeros(0, dtype=np.int16)
        with wave.open(io.BytesIO(encoded[:HEADER_BYTES])) as head:
            assert (head.getframerate(), head.getnchannels(), head.getsampwidth()) == (RATE_HZ, 1, 2)
        # The header of a stream claims two gigabytes, so what follows it is taken as it is.
        return np.frombuffer(encoded[HEADER_BYTES:], dtype="<i2")

    def close(self) -> None:
        """Nothing stays in memory."""

    def _voices(self) -> tuple[Voice, ...]:
        """Of the table that `--voices` prints: priority, language, age and gender, name, file."""
        rows = [line.split() for line in self._said("--voices").decode().splitlines()[1:]]
        found = {row[1]: row[3].replace("_", " ") for row in rows}
        if DEFAULT not in found:
            raise ModelNotReady("espeak-ng is installed without its voices (Debian: `apt-get install espeak-ng-data`).")
        order = sorted(found, key=lambda language: (language != DEFAULT, language))
        return tuple(
            Voice(id=each, name=found[each], language=each, engine="espeak", sample_rate_hz=RATE_HZ) for each in order
        )

    def _said(self, *arguments: str, text: str = "") -> bytes:
        process = program.started([self._path, *arguments])
        try:
            answer, _ = process.communicate(text.encode(), self._deadline_s)
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceeded(f"espeak-ng took longer than {self._deadline_s:g} s for one sentence.") from error
        finally:
            program.stop(process)
        if process.returncode != 0:
            raise ModelLost(f"espeak-ng ended with code {process.returncode}; try again.")
        return answer
