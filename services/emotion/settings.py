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
    threads: int = 1
    """CPU threads that one run may use."""
    max_clip_s: float = 600.0
    """Longest file that is analysed, in seconds of sound."""
    max_clip_bytes: int = 25 * 1024**2
    """Largest file that is analysed, in bytes."""
