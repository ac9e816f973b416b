"""Is somebody speaking? Silero VAD on a stream, 32 ms at a time, its memory kept from call to call.

The network comes with faster-whisper, whose own wrapper takes whole recordings only.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import faster_whisper
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.transcription.engines import Sound

CHUNK = 512
"""Samples at 16 kHz that one probability is of."""
CONTEXT = 64
"""Samples before each chunk that the network wants to see again."""
Probabilities = NDArray[np.float32]


class SpeechDetector:
    """One for each stream; the network itself is shared."""

    def __init__(self) -> None:
        self._session = _session()
        self._memory = {name: np.zeros((1, 1, 128), dtype=np.float32) for name in ("h", "c")}
        self._before = np.zeros(CONTEXT, dtype=np.float32)
        self._rest = np.zeros(0, dtype=np.float32)

    def feed(self, sound: Sound) -> Probabilities:
        """Blocking. Probability of speech of each chunk that is whole by now; the rest waits for what comes."""
        sound = np.concatenate([self._rest, sound])
        whole = len(sound) // CHUNK * CHUNK
        self._rest = sound[whole:]
        if whole == 0:
            return np.zeros(0, dtype=np.float32)
        joined = np.concatenate([self._before, sound[:whole]])
        chunks = np.lib.stride_tricks.sliding_window_view(joined, CONTEXT + CHUNK)[::CHUNK]
        found, h, c = self._session.run(None, {"input": np.ascontiguousarray(chunks), **self._memory})
        self._memory, self._before = {"h": h, "c": c}, joined[-CONTEXT:]
        return np.asarray(found, dtype=np.float32).ravel()


@cache
def _session() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    path = Path(faster_whisper.__file__).parent / "assets" / "silero_vad_v6.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
