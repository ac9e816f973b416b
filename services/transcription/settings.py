"""What the transcription service reads."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Speech to text and the recordings."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIPTION_")

    engine: str = "faster_whisper"
    """Speech engine: faster_whisper, nemo (extra `nemo`) or fake (invents its text; for tests only)."""
    transcription_model: str = Field(
        "faster-whisper-tiny.en", validation_alias=AliasChoices("TRANSCRIPTION_MODEL", "transcription_model")
    )
    """Folder of the weights below MODELS_DIR, or a name that the engine knows."""
    diarizer: str = "onnx_speakers"
    """What tells the speakers of one channel apart: onnx_speakers, or none."""
    speaker_model: str = Field("pyannote-campplus", validation_alias=AliasChoices("SPEAKER_MODEL", "speaker_model"))
    """Folder of the speaker weights below MODELS_DIR; where it is absent, one speaker per channel is assumed."""
    speaker_encoder: Literal["campplus", "titanet"] = "campplus"
    """What makes a vector of a voice: campplus (ONNX, on CPU), or titanet (extra `nemo`), beside the speech model
    and on its device. Voices enrolled with one mean nothing to the other."""
    titanet_model: str = "speakerverification_en_titanet_large"
    """TitaNet's `.nemo` file or its folder below MODELS_DIR, or its name in the local hub cache."""
    device: str = "cpu"
    """Where the speech model runs: cpu or cuda."""
    compute_type: str = "int8"
    """Arithmetic of faster-whisper: int8 on CPU, float16 on GPU."""
    threads: int = 2
    """CPU threads of the speech model."""
    nemo_chunk_s: float = Field(default=30.0, ge=4.0)
    """Longest piece that NeMo hears at once, in seconds; longer speech is cut at its quietest points. Memory grows with
    its square where a model attends to all of it, as Parakeet does."""
    nemo_batch_size: int = Field(default=8, ge=1)
    """Pieces that NeMo hears together."""
    nemo_dtype: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Numbers that NeMo computes with: fp32 anywhere, bf16 or fp16 on a GPU for half the memory."""
    beam_size: int = 5
    """Width of the search: 1 is greedy, a third faster and, with the smallest model, 3.5 points worse in words."""
    chunk_s: float = 30.0
    """Length that a chunk aims at, in seconds. Work is saved, and may be cancelled, after each; who speaks live waits
    for the one in hand."""
    resume_s: float = 600.0
    """How long a live recording without a client can be gone on with, in seconds; then it is finished as it is."""
    live_sessions: int = 10
    """Live recordings that one user may have open at once."""
    parallel: int = 2
    """Recordings worked on at once; their chunks take turns on the one model, so a short one need not wait."""
    max_upload_bytes: int = 1024**3
    """Largest file taken, in bytes."""
    partial_upload_s: float = Field(default=86_400.0, gt=0)
    """How long an upload in pieces waits for its next piece before it is dropped, in seconds."""
    partial_uploads: int = Field(default=20, ge=1)
    """Unfinished uploads that one user may have at once."""
    max_duration_s: float = 4 * 3600.0
    """Longest recording taken, in seconds of sound."""
    clip_bytes: int = 25 * 1024**2
    """Largest clip that is transcribed without being kept, in bytes."""
    clip_s: float = 1800.0
    """Longest clip that is transcribed without being kept, in seconds of sound."""
    gpu_device: str = ""
    """Device whose memory the speech model takes, as `nemo gpu` names it. Empty: the first of its kind."""
    budget_bytes: int = Field(default=0, ge=0)
    """Memory that the speech model is taken to need until it is measured, in bytes. 0: estimated from the weights."""
    call_min_s: float = 1.0
    """Shortest call that /api/v1/transcribe takes, in seconds."""
    call_max_s: float = 1800.0
    """Longest call that /api/v1/transcribe takes, in seconds."""
    call_min_hz: int = 8_000
    """Lowest sample rate of a call."""
    call_max_hz: int = 48_000
    """Highest sample rate of a call."""
    call_bytes: int = 1024**3
    """Largest file of a call, in bytes."""
