"""Who speaks when, on CPU: local speakers by segmentation, their voices compared over the whole recording.

The way of pyannote.audio (Bredin 2023): segmentation-3.0 says for every 17 ms of a window of 10 s which of three local
speakers talk, overlaps included (powerset, Plaquet and Bredin 2023). A voice (CAM++, Wang et al. 2023) is taken of each
local speaker where nobody else talks; voices are clustered, and the windows are put together again speaker by speaker.
The two networks come from `scripts/export_diarizer.py`; figures are in `models/pyannote-campplus/card.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.transcription.engines import Diarization, Sample, Sound, Thresholds, Turn, Voice
from services.transcription.settings import Settings
from shared.errors import ModelNotReady

RATE_HZ = 16_000
WINDOW_S = 10.0
FRAME, FRAME_WIDTH = 270, 991
"""Step and width of a frame of the segmentation network, in samples."""
STEP_FRAMES = 222
"""From window to window, about 3.75 s; whole frames, so that windows of an hour still lie upon one another."""
FRAME_S, STEP_S = FRAME / RATE_HZ, STEP_FRAMES * FRAME / RATE_HZ
POWERSET = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]],
    dtype=bool,
)
"""Which local speakers each of the seven classes means."""
LEAST_VOICE_S, MOST_VOICE_S = 0.8, 4.0
"""Less sound than this says little about a voice, more costs time and says little more."""
SAME = 0.45
"""Mean cosine of two clusters' voices above which they are one speaker; tuned on AMI excerpts and joined readings."""
LEAST_SPEAKER_S = 2.0
"""Who was heard alone for less in all is taken for the speaker that sounds most alike."""
MOST_CLUSTERED = 2_000
GAP_S, LEAST_TURN_S = 0.4, 0.15
BATCH = 8

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Active = NDArray[np.bool_]
"""bool [windows, frames, 3]: which local speakers talk."""


@dataclass(frozen=True)
class LocalVoice:
    """How one local speaker of one window sounds."""

    window: int
    local: int
    seconds: float
    vector: Floats
    """float32 [192] of length 1."""


class OnnxSpeakers:
    """Needs `segmentation.onnx` and `voice.onnx` in the folder of the speaker model. Raises ModelNotReady."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.models_dir / settings.speaker_model
        self.model = settings.speaker_model
        self.thresholds = Thresholds(same=0.5, margin=0.1, least_s=1.5)
        self._segmentation = _session(folder / "segmentation.onnx", settings.threads)
        self._voice = _session(folder / "voice.onnx", settings.threads)

    def diarize(
        self,
        sound: Sound,
        *,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> Diarization:
        least, most = num_speakers or min_speakers or 1, num_speakers or max_speakers or 20
        active = self._local_speakers(sound, breathe)
        voices = list(self._voices(sound, active, breathe))
        if not voices:
            turns = _turns(np.asarray(active.any(axis=2, keepdims=True)), np.zeros((len(active), 1), dtype=np.int64))
            return Diarization(_named(turns)[0])
        labels = clustered(voices, least, most)
        centres = _centres(voices, labels)
        turns, numbers = _named(_turns(active, _globally(active, voices, centres)))
        return Diarization(turns, _voices_by(numbers, voices, labels, centres))

    def voice(self, sound: Sound) -> Voice | None:
        return self.sample(sound).voice

    def sample(self, sound: Sound) -> Sample:
        active = self._local_speakers(sound, lambda: None)
        heard = list(self._voices(sound, active, lambda: None))
        if not heard:
            return Sample(None, 0.0, "no_speech")
        seconds = np.array([each.seconds for each in heard], dtype=np.float32)
        return Sample(Voice(_centre(np.stack([each.vector for each in heard]), seconds), float(seconds.sum())), 1.0)

    def _local_speakers(self, sound: Sound, breathe: Callable[[], None]) -> Active:
        windows, found = _windows(sound), []
        for at in range(0, len(windows), BATCH):
            breathe()
            batch = np.stack(windows[at : at + BATCH])[:, None]
            found.append(self._segmentation.run(None, {"sound": batch})[0].argmax(axis=2))
        return np.asarray(POWERSET[np.concatenate(found)])

    def _voices(self, sound: Sound, active: Active, breathe: Callable[[], None]) -> Iterator[LocalVoice]:
        """Of each local speaker where it talks alone."""
        for window, frames in enumerate(active):
            breathe()
            begin = window * STEP_FRAMES * FRAME
            for local in range(frames.shape[1]):
                alone = frames[:, local] & (frames.sum(axis=1) == 1)
                seconds = float(alone.sum() * FRAME_S)
                if seconds >= LEAST_VOICE_S:
                    yield LocalVoice(window, local, seconds, self._vector(_picked(sound[begin:], alone)))

    def _vector(self, sound: Sound) -> Floats:
        found = self._voice.run(None, {"banks": filter_banks(sound)[None]})[0][0]
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-9), dtype=np.float32)


def _session(path: Any, threads: int) -> Any:
    if not path.is_file():
        raise ModelNotReady(f"{path} is missing; run `nemo models pull`.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _windows(sound: Sound) -> list[Sound]:
    """Stretches of 10 s, the last filled up with silence."""
    size, step = int(WINDOW_S * RATE_HZ), STEP_FRAMES * FRAME
    count = max(1, -(-(len(sound) - size) // step) + 1)
    padded = np.pad(sound, (0, max(0, (count - 1) * step + size - len(sound))))
    return [padded[at * step : at * step + size] for at in range(count)]


def _picked(sound: Sound, alone: NDArray[np.bool_]) -> Sound:
    """The first samples under the frames that are marked."""
    at = np.flatnonzero(alone)
    starts = at * FRAME + (FRAME_WIDTH - FRAME) // 2
    samples = (starts[:, None] + np.arange(FRAME)).ravel()
    return np.asarray(sound[samples[samples < len(sound)]][: int(MOST_VOICE_S * RATE_HZ)])


def clustered(voices: list[LocalVoice], least: int, most: int) -> Labels:
    """A cluster for each voice; agglomerative with average linkage over cosines (Sneath and Sokal, UPGMA)."""
    seconds = np.array([voice.seconds for voice in voices], dtype=np.float32)
    chosen = np.sort(np.argsort(-seconds, kind="stable")[:MOST_CLUSTERED])
    vectors = np.stack([voice.vector for voice in voices])
    windows = max(voice.window for voice in voices) + 1
    overlap = windows * WINDOW_S / ((windows - 1) * STEP_S + WINDOW_S)  # how often a second was counted
    among = _merged(vectors[chosen] @ vectors[chosen].T, seconds[chosen] / overlap, least, most)
    centres = _centres([voices[each] for each in chosen], among)
    labels = (vectors @ centres.T).argmax(axis=1)
    labels[chosen] = among
    return np.asarray(labels)


def _merged(alike: Floats, seconds: Floats, least: int, most: int) -> Labels:
    """Merge the two most alike until none are alike enough; then take in the clusters that were hardly heard."""
    clusters = _Clusters(alike, seconds)
    while len(clusters.members) > least:
        one, other = clusters.closest()
        if clusters.alike[one, other] < SAME and len(clusters.members) <= most:
            one = clusters.least_heard()
            if clusters.heard_s(one) >= LEAST_SPEAKER_S:
                break
            other = int(clusters.alike[one].argmax())
        clusters.join(one, other)
    labels = np.zeros(len(alike), dtype=np.int64)
    for label, each in enumerate(clusters.members.values()):
        labels[each] = label
    return labels


class _Clusters:
    """Groups of voices, and how alike they are on average."""

    def __init__(self, alike: Floats, seconds: Floats) -> None:
        self.alike = alike.astype(np.float64)
        np.fill_diagonal(self.alike, -np.inf)
        self.members = {each: [each] for each in range(len(alike))}
        self._seconds = seconds

    def closest(self) -> tuple[int, int]:
        one, other = divmod(int(self.alike.argmax()), len(self.alike))
        return one, other

    def join(self, one: int, other: int) -> None:
        here, there = len(self.members[one]), len(self.members[other])
        joined = (self.alike[one] * here + self.alike[other] * there) / (here + there)
        self.alike[one], self.alike[:, one] = joined, joined
        self.alike[one, one] = -np.inf
        self.alike[other], self.alike[:, other] = -np.inf, -np.inf
        self.members[one] += self.members.pop(other)

    def least_heard(self) -> int:
        return min(self.members, key=self.heard_s)

    def heard_s(self, cluster: int) -> float:
        return float(self._seconds[self.members[cluster]].sum())


def _centre(vectors: Floats, weights: Floats) -> Floats:
    mean = (vectors * weights[:, None]).sum(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def _centres(voices: list[LocalVoice], labels: Labels) -> Floats:
    vectors, seconds = (
        np.stack([voice.vector for voice in voices]),
        np.array([voice.seconds for voice in voices], dtype=np.float32),
    )
    return np.stack([_centre(vectors[labels == each], seconds[labels == each]) for each in range(labels.max() + 1)])


def _globally(active: Active, voices: list[LocalVoice], centres: Floats) -> Labels:
    """int [windows, 3]: the speaker that each local one is, two of one window never the same; -1 where unknown."""
    found = np.full((len(active), active.shape[2]), -1, dtype=np.int64)
    by_window: dict[int, list[LocalVoice]] = {}
    for voice in voices:
        by_window.setdefault(voice.window, []).append(voice)
    for window, heard in by_window.items():
        alike = np.stack([voice.vector for voice in heard]) @ centres.T
        for voice, speaker in zip(heard, _apart(alike), strict=True):
            found[window, voice.local] = speaker
    return found


def _apart(alike: Floats) -> list[int]:
    """The best speaker for each voice of one window, all different as long as there are enough speakers."""
    count, speakers = alike.shape
    if count > speakers:
        return [int(each) for each in alike.argmax(axis=1)]
    likely = sorted({int(each) for row in alike for each in np.argsort(-row)[:count]})
    best = max(permutations(likely, count), key=lambda pick: sum(alike[row, each] for row, each in enumerate(pick)))
    return list(best)


def _turns(active: Active, speakers: Labels) -> list[Turn]:
    """Windows put together: at every frame the speakers that most windows heard, as many as they heard on average."""
    windows, frames, locals_ = active.shape
    total = (windows - 1) * STEP_FRAMES + frames
    votes = np.zeros((total, int(speakers.max()) + 1 if speakers.max() >= 0 else 1), dtype=np.float32)
    talking, seen = np.zeros(total, dtype=np.float32), np.zeros(total, dtype=np.float32)
    for window in range(windows):
        at = slice(window * STEP_FRAMES, window * STEP_FRAMES + frames)
        seen[at] += 1
        talking[at] += active[window].sum(axis=1)
        for local in range(locals_):
            if speakers[window, local] >= 0:
                votes[at, speakers[window, local]] += active[window, :, local]
    count = np.rint(talking / np.maximum(seen, 1)).astype(int)
    order = np.argsort(-votes, axis=1, kind="stable")
    turns: list[Turn] = []
    for speaker in range(votes.shape[1]):
        rank = (order == speaker).argmax(axis=1)
        turns += _stretches((rank < count) & (votes[:, speaker] > 0), speaker)
    return sorted(turns, key=lambda turn: (turn.start_s, turn.end_s))


def _named(turns: list[Turn]) -> tuple[list[Turn], dict[int, int]]:
    """The turns with speakers numbered in the order in which they are first heard; the numbers by cluster."""
    numbers = {speaker: number for number, speaker in enumerate(dict.fromkeys(turn.speaker for turn in turns))}
    return [Turn(turn.start_s, turn.end_s, numbers[turn.speaker]) for turn in turns], numbers


def _voices_by(numbers: dict[int, int], voices: list[LocalVoice], labels: Labels, centres: Floats) -> dict[int, Voice]:
    overlap = WINDOW_S / STEP_S
    heard = {each: sum(v.seconds for v, label in zip(voices, labels, strict=True) if label == each) for each in numbers}
    return {number: Voice(centres[each], heard[each] / overlap) for each, number in numbers.items() if heard[each]}


def _stretches(talks: NDArray[np.bool_], speaker: int) -> Iterator[Turn]:
    """Joined over short pauses; what is too short to be a word is left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], talks, [False]]).astype(np.int8)))
    joined: list[tuple[float, float]] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        start_s, end_s = _seconds(begin), _seconds(end)
        if joined and start_s - joined[-1][1] <= GAP_S:
            joined[-1] = (joined[-1][0], end_s)
        else:
            joined.append((start_s, end_s))
    for start_s, end_s in joined:
        if end_s - start_s >= LEAST_TURN_S:
            yield Turn(round(start_s, 3), round(end_s, 3), speaker)


def _seconds(frame: int) -> float:
    """Where the middle part of a frame begins."""
    return (int(frame) * FRAME + (FRAME_WIDTH - FRAME) / 2) / RATE_HZ


def filter_banks(sound: Sound) -> Floats:
    """Kaldi's log mel filter banks, float32 [frames, 80], 25 ms every 10 ms, their mean taken away."""
    count = max(1, 1 + (len(sound) - 400) // 160)
    padded = np.pad(sound, (0, max(0, 400 - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:count].astype(np.float64)
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(frames * _POVEY, 512, axis=1)) ** 2
    banks = np.log(np.maximum(power[:, :256] @ _MEL.T, np.finfo(np.float32).eps))
    return np.asarray(banks - banks.mean(axis=0), dtype=np.float32)


def _mel_banks() -> NDArray[np.float64]:
    """[80, 256] triangles, equally wide on Kaldi's mel scale from 20 Hz to 8 kHz."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hz / 700.0)

    low, high = mel(np.array([20.0, 8_000.0]))
    edges = low + (high - low) / 81 * np.arange(82)
    at = mel(np.arange(256) * RATE_HZ / 512)
    up = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0.0, np.minimum(up, down)))


_POVEY = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
_MEL = _mel_banks()
