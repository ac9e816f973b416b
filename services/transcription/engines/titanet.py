"""NVIDIA NeMo's TitaNet (Koluguri et al. 2022): a vector of a voice, 192 numbers (extra `nemo`)."""

from __future__ import annotations

import numpy as np

from services.transcription.engines import Sound, Thresholds, require_sound
from services.transcription.engines.nemo_weights import NemoModel
from services.transcription.settings import Settings
from shared.errors import Invalid

LEAST = 1_600
"""Samples, 100 ms: less has no frames to tell anything by."""
THRESHOLDS = Thresholds(same=0.4, margin=0.1, least_s=1.5)
"""Not measured here on the real TitaNet. `same` is the default of NeMo's `verify_speakers`, 0.7 of (cosine + 1) / 2;
`least_s` the longest window of NeMo's diarizers; `margin` as for CAM++."""


class TitaNet:
    """Blocking. A `.nemo` file or folder below MODELS_DIR, else a name in the local hub cache. Computes in float32."""

    thresholds = THRESHOLDS

    def __init__(self, settings: Settings) -> None:
        from nemo.collections.asr.models import EncDecSpeakerLabelModel

        self.model = settings.titanet_model
        self._model = NemoModel(EncDecSpeakerLabelModel, settings, settings.titanet_model)
        if self._model.park is not None and self._model.wake is not None:
            self.park, self.wake = self._model.park, self._model.wake

    def vector(self, sound: Sound) -> Sound:
        """float32 [192] of length 1, of a stretch in which one person talks. Raises Invalid below 100 ms."""
        import torch

        require_sound(sound)
        if len(sound) < LEAST:
            raise Invalid(f"A voice needs at least {LEAST} samples of sound; these are {len(sound)}.")
        with torch.inference_mode():
            device = self._model.module.device
            heard = torch.from_numpy(np.array(sound))[None].to(device)
            length = torch.tensor([len(sound)], device=device)
            _, found = self._model.module.forward(input_signal=heard, input_signal_length=length)
        vector = found[0].float().cpu().numpy()
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)
