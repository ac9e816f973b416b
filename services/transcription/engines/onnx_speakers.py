"""Who speaks when, on CPU: speech and overlaps by segmentation, speakers by voices compared over the whole recording.

segmentation-3.0 (Plaquet and Bredin 2023) says for every 17 ms of a window of 10 s which of three local speakers talk.
It hears speech and overlap well, but over telephones and far microphones it takes different people for one. So voices
(CAM++, Wang et al. 2023) are taken of short pieces in which one person talks, clustered, and laid over the local
speakers: these give the exact borders and who talks at the same time, the pieces say who it is.
The networks come from `scripts/export_diarizer.py`; figures are in `models/pyannote-campplus/card.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.transcription.engines import Diarization, Sample, Signal, Sound, Thresholds, Turn, Voice
from services.transcription.engines.clustering import Labels, centre, centres, clustered, same_from
from services.transcription.engines.filter_banks import filter_banks
from services.transcription.engines.samples import judged
from services.transcription.engines.windows import (
    FRAME_S,
    STEP_FRAMES,
    Local,
    Span,
    cut,
    local_speakers,
    places,
    runs,
    samples_in,
    second,
    seen,
    talking,
)
from services.transcription.settings import Settings
from shared.errors import ModelNotReady

CAMPPLUS = Thresholds(same=0.45, margin=0.1, least_s=1.5)
"""Readers of LibriSpeech, from 2 s of speech on: the most alike strangers had 0.46; see `scripts/bench/speakers.py`."""
ONSET, ALONE = 0.4, 1.5
"""So many talk on average (over windows and doubts) where somebody talks; where two do."""
PIECE_S, HOP_S, LEAST_PIECE_S, PIECE_GAP_S = 2.0, 1.0, 0.4, 0.3
LEAST_VOICE_S = 1.0
"""A shorter piece may be assigned to a speaker, but makes none."""
SHARPNESS = 12.0
"""Of the softmax over cosines to the speakers' centres."""
PIECES_WEIGHT = 1.5
"""Of the pieces against the local speakers."""
LEAST_SECOND = 0.15
"""Less evidence than this is no second speaker, even where two were heard."""
GAP_S, LEAST_TURN_S = 0.4, 0.15
MOST_SPEAKERS = 20

Floats = NDArray[np.float32]
Encode = Callable[[Sound], Floats]
"""float32 [n] mono 16 kHz to a vector of any length; it need not be normalised."""


@dataclass(frozen=True)
class Pieces:
    """Short stretches in which one person talks, in order."""

    spans: list[Span]
    vectors: Floats
    """float32 [pieces, dimensions], of length 1."""
    fresh_s: Floats
    """Speech of each that no earlier one had."""

    @property
    def seconds(self) -> Floats:
        return np.array([(end - begin) * FRAME_S for begin, end in self.spans], dtype=np.float32)

    @property
    def telling(self) -> NDArray[np.bool_]:
        """Those that are long enough to make a speaker; all, where none is."""
        long = self.seconds >= LEAST_VOICE_S - FRAME_S
        return np.asarray(long if long.any() else np.ones(len(self.spans), dtype=bool))


class OnnxSpeakers:
    """Needs `segmentation.onnx` in the folder of the speaker model, and `voice.onnx` and `channel.npy` unless `encode`
    is given. Thresholds belong to the encoder. Raises ModelNotReady."""

    def __init__(self, settings: Settings, encode: Encode | None = None, thresholds: Thresholds | None = None) -> None:
        folder = settings.models_dir / settings.speaker_model
        self.model = settings.speaker_model
        self.thresholds = thresholds or CAMPPLUS
        self._segmentation = _session(folder / "segmentation.onnx", settings.threads)
        self._encode = encode or campplus(folder, settings.threads)

    def diarize(
        self,
        sound: Signal,
        *,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> Diarization:
        least, most = num_speakers or min_speakers or 1, num_speakers or max_speakers or MOST_SPEAKERS
        local = local_speakers(self._segmentation, sound, breathe)
        pieces = self._pieces(sound, talking(local), breathe)
        if not pieces.spans:
            return Diarization([])
        labels = _speakers(pieces, least, most)
        turns = _turns(local, pieces, labels)
        numbers = {speaker: number for number, speaker in enumerate(dict.fromkeys(turn.speaker for turn in turns))}
        named = [Turn(turn.start_s, turn.end_s, numbers[turn.speaker]) for turn in turns]
        return Diarization(named, {number: _voice(pieces, labels == each) for each, number in numbers.items()})

    def voice(self, sound: Sound) -> Voice | None:
        pieces = self._pieces(sound, talking(local_speakers(self._segmentation, sound, lambda: None)), lambda: None)
        return _voice(pieces, np.ones(len(pieces.spans), dtype=bool)) if pieces.spans else None

    def sample(self, sound: Sound) -> Sample:
        speech = talking(local_speakers(self._segmentation, sound, lambda: None))
        pieces = self._pieces(sound, speech, lambda: None)
        return judged(sound, speech, pieces.vectors[pieces.telling], pieces.fresh_s[pieces.telling])

    def _pieces(self, sound: Signal, speech: Floats, breathe: Callable[[], None]) -> Pieces:
        spans = [
            piece
            for stretch in runs((speech > ONSET) & (speech < ALONE), PIECE_GAP_S)
            for piece in _tiled(stretch)
            if samples_in(sound, piece) >= LEAST_PIECE_S / 2 * 16_000
        ]
        vectors = []
        for span in spans:
            breathe()
            vectors.append(self._encode(cut(sound, span)))
        found = np.stack(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)
        length = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        return Pieces(spans, np.asarray(found / length, dtype=np.float32), _fresh_s(spans))


def campplus(folder: Path, threads: int, channel: Floats | None = None) -> Encode:
    """CAM++ without the direction in which telephones and noise move every voice alike.

    Nuisance attribute projection (Solomonoff, Campbell and Boardman 2005) with the one direction of `channel.npy`,
    which `scripts/fit_channel.py` makes.
    """
    session = _session(folder / "voice.onnx", threads)
    moved = np.load(_present(folder / "channel.npy")).astype(np.float32) if channel is None else channel

    def encode(sound: Sound) -> Floats:
        vector = session.run(None, {"banks": filter_banks(sound)[None]})[0][0]
        return np.asarray(vector - (vector @ moved) * moved, dtype=np.float32)

    return encode


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ModelNotReady(f"{path} is missing; run `nemo models pull`.")
    return path


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Waiting threads that spin take the other core from the speech model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(_present(path)), options, providers=["CPUExecutionProvider"])


def _tiled(stretch: Span) -> list[Span]:
    """Pieces of PIECE_S about every HOP_S, evenly from end to end; a short stretch is one piece."""
    begin, end = stretch
    if (end - begin) * FRAME_S < LEAST_PIECE_S:
        return []
    count = max(1, round(((end - begin) * FRAME_S - PIECE_S) / HOP_S) + 1)
    size = min(end - begin, round(PIECE_S / FRAME_S))
    return [(int(at), int(at) + size) for at in np.linspace(begin, end - size, count)]


def _fresh_s(spans: Sequence[Span]) -> Floats:
    found, last = np.zeros(len(spans), dtype=np.float32), 0
    for at, (begin, end) in enumerate(spans):
        found[at] = max(0, end - max(begin, last)) * FRAME_S
        last = max(last, end)
    return found


def _speakers(pieces: Pieces, least: int, most: int) -> Labels:
    """int [pieces]: the speaker of each."""
    telling = pieces.telling
    times = np.array(pieces.spans, dtype=np.float32)[telling] * np.float32(FRAME_S)
    vectors, fresh_s = pieces.vectors[telling], pieces.fresh_s[telling]
    known = clustered(vectors, fresh_s, same_from(vectors, times[:, 0], times[:, 1]), least, most)
    labels = np.zeros(len(pieces.spans), dtype=np.int64)
    labels[telling] = known
    if not telling.all():
        labels[~telling] = (pieces.vectors[~telling] @ centres(vectors, pieces.seconds[telling], known).T).argmax(
            axis=1
        )
    return labels


def _voice(pieces: Pieces, whose: NDArray[np.bool_]) -> Voice:
    chosen = whose & pieces.telling if (whose & pieces.telling).any() else whose
    return Voice(centre(pieces.vectors[chosen], pieces.seconds[chosen]), round(float(pieces.fresh_s[whose].sum()), 3))


def _turns(local: Local, pieces: Pieces, labels: Labels) -> list[Turn]:
    """At every frame as many speakers as talk there, those with the most evidence; joined over short pauses."""
    told = _told_by_pieces(pieces, labels, (len(local) - 1) * STEP_FRAMES + local.shape[1])
    shared = _told_by_windows(local, told)
    speech = talking(local)
    evidence = shared + PIECES_WEIGHT * told * np.minimum(speech, 1)[:, None]
    count = np.floor(speech + 1 - ONSET)
    first = evidence.argmax(axis=1)
    np.put_along_axis(evidence, first[:, None], -1.0, axis=1)
    other = evidence.argmax(axis=1)
    both = (count >= 2) & (np.take_along_axis(shared, other[:, None], axis=1)[:, 0] > LEAST_SECOND) & (other != first)
    turns = [
        Turn(second(begin), second(end), speaker)
        for speaker in range(evidence.shape[1])
        for begin, end in runs(((first == speaker) & (count >= 1)) | ((other == speaker) & both), GAP_S)
        if (end - begin) * FRAME_S >= LEAST_TURN_S
    ]
    return sorted(turns, key=lambda turn: (turn.start_s, turn.end_s))


def _told_by_pieces(pieces: Pieces, labels: Labels, frames: int) -> Floats:
    """float32 [frames, speakers]: how likely each is, a piece counting most in its middle; 0 where there is none."""
    telling = pieces.telling
    likely = np.exp(
        SHARPNESS * (pieces.vectors @ centres(pieces.vectors[telling], pieces.seconds[telling], labels[telling]).T)
    )
    likely /= likely.sum(axis=1, keepdims=True)
    told = np.zeros((frames, likely.shape[1]), dtype=np.float32)
    weights = np.zeros(frames, dtype=np.float32)
    for (begin, end), each in zip(pieces.spans, likely, strict=True):
        rise = np.minimum(np.arange(1, end - begin + 1), np.arange(end - begin, 0, -1)).astype(np.float32)
        told[begin:end] += rise[:, None] * each
        weights[begin:end] += rise
    return np.asarray(told / np.maximum(weights, 1e-9)[:, None])


def _told_by_windows(local: Local, told: Floats) -> Floats:
    """The local speakers under the names that the pieces have where each talks alone; a mixture where they disagree."""
    shared = np.zeros_like(told)
    for window, at in places(local.shape[0], local.shape[1]):
        active = local[window].astype(np.float32)
        alone = active * (1 - np.clip(active.sum(axis=1, keepdims=True) - active, 0, 1))
        alone *= (told[at].max(axis=1) > 0)[:, None]
        shared[at] += active @ ((alone.T @ told[at]) / np.maximum(alone.sum(axis=0), 1e-6)[:, None])
    return np.asarray(shared / seen(local.shape[0], local.shape[1])[:, None])
