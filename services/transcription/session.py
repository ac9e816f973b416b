"""One live recording: its sound on the disk, what is being said in it, and what waits for its words."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.transcription.agreement import LocalAgreement
from services.transcription.channels import labels as channel_labels
from services.transcription.endpoints import Endpointer, Utterance
from services.transcription.engines import Sound
from services.transcription.engines.silero import SpeechDetector
from services.transcription.outbox import Outbox
from services.transcription.passing import PassingSound, Unrecorded
from services.transcription.repository import Recording, Recordings
from services.transcription.voices import LiveVoices
from shared.audio.decode import RATE_HZ, as_float
from shared.audio.resample import Resampler, resampled
from shared.schemas.live import Event, Quiet, Vad, Warned
from shared.storage.journal import Journal

SAVE_S = 0.25
"""Sound that is collected before it is written; a client hears of it so much later."""
BEHIND_S, CAUGHT_UP_S = 10.0, 3.0
READ_S = 30


@dataclass
class Line:
    """One voice line of a session."""

    detector: SpeechDetector
    endpoints: Endpointer
    agreement: LocalAgreement = field(default_factory=LocalAgreement)
    number: int = -1
    """Of the open utterance."""
    looked: int = 0
    """Sample up to which the open utterance was looked at."""
    speaking: bool = False


@dataclass(frozen=True)
class Ended:
    number: int
    channel: int
    at: Utterance


class Session:
    """One live recording."""

    def __init__(
        self,
        recording: Recording,
        journal: Journal | PassingSound,
        voices: LiveVoices,
        records: Recordings | Unrecorded,
    ) -> None:
        self.recording, self.journal, self.voices, self.records = recording, journal, voices, records
        options = recording.options
        self._tells_quiet = bool(options["live"].get("quiet"))
        self.rate_hz, self.count = int(options["live"]["rate_hz"]), int(options["live"]["channels"])
        self.names, _ = channel_labels(self.count, options.get("channel_labels")) if self.count > 1 else ({}, [])
        self.redacts = frozenset(options.get("redact") or ())
        self.outbox: Outbox | None = None
        self.seq = 0
        self.unsaved: deque[Ended] = deque()
        """Utterances that the database has not taken yet."""
        self.ended: deque[Ended] = deque()
        """Utterances that wait for their final words."""
        self.done = asyncio.Event()
        """Set while nothing waits."""
        self.done.set()
        self.left_at = asyncio.get_running_loop().time()
        self.failures = 0
        self.language: str | None = options.get("language")
        self.stopping = False
        self._behind = False
        self._numbers = 0
        self._pending = bytearray()
        self._resampler = Resampler(self.rate_hz, self.count)
        self._heard = 0
        """Samples at 16 kHz that the detectors have heard."""
        self.lines: list[Line] = []
        self.busy = asyncio.Lock()

    # -- time and bytes

    @property
    def frame_bytes(self) -> int:
        return 2 * self.count

    def seconds_of(self, size_bytes: int) -> float:
        return size_bytes / self.frame_bytes / self.rate_hz

    @property
    def kept(self) -> bool:
        return not isinstance(self.journal, PassingSound)

    def forget_sound(self) -> None:
        """Of a passing stream, all that no words are to be made of any more."""
        if isinstance(self.journal, PassingSound):
            needed = [line.endpoints.settled for line in self.lines] + [each.at.start for each in self.ended]
            self.journal.forget(int(min(needed) * self.rate_hz / RATE_HZ) * self.frame_bytes)

    @property
    def audio_ms(self) -> int:
        return int(self.seconds_of(self.journal.size_bytes) * 1000)

    def lag_s(self) -> float:
        """How far the finals are behind the sound."""
        return self._heard / RATE_HZ - self.ended[0].at.end / RATE_HZ if self.ended else 0.0

    def sound(self, channel: int, at: Utterance) -> Sound:
        """Blocking. What one channel holds there, read from the disk, float32 at 16 kHz."""
        start, end = (int(each * self.rate_hz / RATE_HZ) * self.frame_bytes for each in (at.start, at.end))
        samples = np.frombuffer(self.journal.read(start, end), dtype=np.int16).reshape(-1, self.count)
        return as_float(resampled(samples, self.rate_hz)[:, channel])

    def name_of(self, label: str) -> str | None:
        return self.names.get(label) or self.voices.name_of(label)

    # -- telling

    def tell(self, event: Event) -> None:
        self.seq += 1
        event.seq = self.seq
        if self.outbox is not None:
            self.outbox.put(event)

    # -- hearing

    def take(self, data: bytes) -> bytes | None:
        """Collects sound; a piece that is to be saved once there is enough."""
        self._pending += data
        enough = int(SAVE_S * self.rate_hz) * self.frame_bytes
        return self.rest() if len(self._pending) >= enough else None

    def rest(self) -> bytes:
        """What was collected, in whole frames."""
        whole = len(self._pending) // self.frame_bytes * self.frame_bytes
        piece = bytes(self._pending[:whole])
        del self._pending[:whole]
        return piece

    def forget_rest(self) -> None:
        """What was not saved is not acknowledged either, so a client that comes back sends it again."""
        self._pending.clear()

    def hear(self, piece: bytes) -> list[Ended]:
        """Blocking. The utterances that ended in this piece."""
        samples = self._resampler.feed(np.frombuffer(piece, dtype=np.int16).reshape(-1, self.count))
        self._heard += len(samples)
        found = []
        for number, line in enumerate(self.lines):
            probabilities = line.detector.feed(as_float(samples[:, number]))
            found += [self._ended(number, each) for each in line.endpoints.feed(map(float, probabilities))]
        return found

    def _ended(self, channel: int, at: Utterance) -> Ended:
        here = self.lines[channel]
        number = here.number if here.number >= 0 else self.next_number()
        here.number, here.looked, here.agreement = -1, 0, LocalAgreement()
        return Ended(number, channel, at)

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers - 1

    def flush(self) -> list[Ended]:
        found = []
        for number, line in enumerate(self.lines):
            if (at := line.endpoints.flush()) is not None:
                found.append(self._ended(number, at))
        return found

    def tell_voices(self) -> None:
        """`vad` where somebody began or ended."""
        for number, line in enumerate(self.lines):
            at = line.endpoints.open
            if (at is not None) != line.speaking:
                line.speaking = at is not None
                at_s = at.start / RATE_HZ if at is not None else line.endpoints.settled / RATE_HZ
                self.tell(Vad(state="speech" if at else "silence", at_s=round(at_s, 3), channel=number))

    def tell_lag(self) -> None:
        lag_s = self.lag_s()
        if not self._behind and lag_s > BEHIND_S:
            self._behind = True
            detail = "Speech comes faster than it can be written down; nothing is lost, the words come later."
            self.tell(Warned(code="falling_behind", detail=detail, lag_s=round(lag_s, 1)))
        elif self._behind and lag_s < CAUGHT_UP_S:
            self._behind = False
            self.tell(Warned(code="caught_up", detail="The words are up to date again.", lag_s=round(lag_s, 1)))

    def tell_quiet(self) -> None:
        """Where nobody speaks and no words are to come."""
        waiting = self.ended or self.unsaved or any(line.endpoints.open for line in self.lines)
        if self._tells_quiet and not waiting:
            self.tell(Quiet(audio_ms=self.audio_ms))

    # -- after a restart

    def restore(self, utterances: dict[int, Any], finals: dict[int, Any]) -> None:
        """Blocking. Where an earlier process left off: the detectors hear what no utterance was made of yet."""
        self._numbers = max(utterances, default=-1) + 1
        ends = [0] * self.count
        for number, each in utterances.items():
            at = Utterance(each["start"], each["end"])
            ends[each["channel"]] = max(ends[each["channel"]], at.end)
            if number not in finals:
                self.ended.append(Ended(number, each["channel"], at))
        for each in finals.values():
            self.voices.restore(each["voice"], each["segments"])
            self.seq = max(self.seq, each["seq"] + len(each["segments"]))
            self.language = self.language or (each["language"] if each["segments"] else None)
        self.lines = [Line(SpeechDetector(), Endpointer(end)) for end in ends]
        self._heard = int(self.journal.size_bytes // self.frame_bytes * RATE_HZ / self.rate_hz)
        if self.ended:
            self.done.clear()

    def overheard(self) -> list[Ended]:
        """Blocking. Utterances in what was saved but not listened to before the restart."""
        found = []
        for number, line in enumerate(self.lines):
            at = line.endpoints.settled
            while at < self._heard:
                end = min(self._heard, at + READ_S * RATE_HZ)
                probabilities = line.detector.feed(self.sound(number, Utterance(at, end)))
                found += [self._ended(number, each) for each in line.endpoints.feed(map(float, probabilities))]
                at = end
        return found
