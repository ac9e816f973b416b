"""Local speakers, window by window, and how windows that lie upon one another are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.transcription.engines import Signal, Sound

RATE_HZ = 16_000
WINDOW = 160_000
"""Samples of a window: the 10 s that segmentation-3.0 was trained on."""
FRAME, FRAME_WIDTH = 270, 991
"""Step and width of a frame of the segmentation network, in samples."""
FRAME_S = FRAME / RATE_HZ
EDGE_S = (FRAME_WIDTH - FRAME) / 2 / RATE_HZ
"""Where the middle part of the first frame begins."""
STEP_FRAMES = 74
"""From window to window, about 1.25 s; whole frames, so that windows of an hour still lie upon one another."""
POWERSET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=np.float32)
"""Which local speakers each of the seven classes means (Plaquet and Bredin 2023)."""
LEVEL, MOST_GAIN = 0.05, 30.0
"""Quiet windows are lifted to this root mean square: below it the network's own normalisation fades out."""
BATCH = 4

Floats = NDArray[np.float32]
Local = NDArray[np.float16]
"""float16 [windows, frames, 3]: probability that each local speaker of a window talks; 10 MB for an hour."""
Span = tuple[int, int]
"""First frame and the one behind the last."""


def local_speakers(network: Any, sound: Signal, breathe: Callable[[], None]) -> Local:
    """The network's answer for every window; only one batch of windows is ever held as sound."""
    step = STEP_FRAMES * FRAME
    count = max(1, -(-(len(sound) - WINDOW) // step) + 1)
    found = []
    for first in range(0, count, BATCH):
        breathe()
        batch = np.stack([_window(sound, at * step) for at in range(first, min(first + BATCH, count))])
        found.append((np.exp(network.run(None, {"sound": batch[:, None]})[0]) @ POWERSET).astype(np.float16))
    return np.concatenate(found)


def _window(sound: Signal, begin: int) -> Sound:
    window = np.zeros(WINDOW, dtype=np.float32)
    part = sound[begin : begin + WINDOW]
    level = float(np.sqrt(np.mean(part.astype(np.float64) ** 2))) if len(part) else 0.0
    window[: len(part)] = part * min(LEVEL / max(level, 1e-9), MOST_GAIN)
    return window


def places(windows: int, frames: int) -> Iterator[tuple[int, slice]]:
    """Each window and the frames of the whole that it covers."""
    for window in range(windows):
        yield window, slice(window * STEP_FRAMES, window * STEP_FRAMES + frames)


def seen(windows: int, frames: int) -> Floats:
    """How many windows cover each frame of the whole."""
    total = np.zeros((windows - 1) * STEP_FRAMES + frames, dtype=np.float32)
    for _, at in places(windows, frames):
        total[at] += 1
    return total


def talking(local: Local) -> Floats:
    """float32 [frames of the whole]: how many talk at once, on average over windows and their doubts."""
    windows, frames, _ = local.shape
    total = np.zeros((windows - 1) * STEP_FRAMES + frames, dtype=np.float32)
    for window, at in places(windows, frames):
        total[at] += local[window].astype(np.float32).sum(axis=1)
    return np.asarray(total / seen(windows, frames))


def runs(marked: NDArray[np.bool_], gap_s: float) -> list[Span]:
    """Stretches of marked frames, joined over gaps of up to `gap_s`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    joined: list[Span] = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if joined and begin - joined[-1][1] <= gap_s / FRAME_S:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def samples_in(sound: Signal, span: Span) -> int:
    """How many samples `cut` gives."""
    shift = (FRAME_WIDTH - FRAME) // 2
    return max(0, min(span[1] * FRAME + shift, len(sound)) - (span[0] * FRAME + shift))


def cut(sound: Signal, span: Span) -> Sound:
    """The samples under the frames of a span."""
    shift = (FRAME_WIDTH - FRAME) // 2
    return sound[span[0] * FRAME + shift : span[1] * FRAME + shift]


def second(frame: int) -> float:
    return round(frame * FRAME_S + EDGE_S, 3)
