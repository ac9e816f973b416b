"""What the emotion service reads."""

from __future__ import annotations

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Emotion of text and voice."""

    model_config = SettingsConfigDict(env_prefix="EMOTION_")

    engine: str = "onnx_minilm"
    """Emotion engine: onnx_minilm, transformers_roberta (extra `gpu`) or fake (invents; for tests only)."""
    emotion_model: str = Field("emotion", validation_alias=AliasChoices("EMOTION_MODEL", "emotion_model"))
    """Folder of the weights below MODELS_DIR."""
    device: str = "cpu"
    """Where transformers_roberta runs: cpu or cuda."""
    threads: int = Field(default=1, ge=1)
    """CPU threads that one run may use."""
    max_clip_s: float = Field(default=600.0, gt=0)
    """Longest file that is analysed, in seconds of sound."""
    max_clip_bytes: int = Field(default=25 * 1024**2, gt=0)
    """Largest file that is analysed, in bytes."""
    clips_at_once: int = Field(default=2, ge=1)
    """Files worked on at the same time; the others wait their turn."""
