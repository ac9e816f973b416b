"""The only place that reads the environment.

Every field's docstring gives the unit and the special values; `.env.example` is generated from here. A secret `X` may
also come as `X_FILE` (a path) or as the file `<secrets_dir>/<x in lower case>`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

SERVICE_PORTS = {
    "api-gateway": 8000,
    "gemma": 8001,
    "gpu-coordinator": 8002,
    "transcription": 8003,
    "rag": 8004,
    "emotion": 8005,
    "tts": 8007,
}
"""Every service of the platform and the port it listens on when nothing else is said."""

ROOT = Path(__file__).resolve().parent.parent


PLAIN = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "HF_HOME", "HF_HUB_CACHE",
)  # fmt: skip


def plain_environment() -> dict[str, str]:
    """What any program needs, and nothing of ours: each child is given its own secrets only, or none."""
    return {name: os.environ[name] for name in PLAIN if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def shared_name(name: str, default: Any, **kwargs: Any) -> Any:
    """A field that every service reads under one plain name, whatever the prefix of its own fields."""
    field_name = name.lower()
    return Field(default=default, validation_alias=AliasChoices(name, field_name), **kwargs)


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets from `<NAME>_FILE`, else from `<secrets_dir>/<name>`; the environment itself goes first."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = self._path(field_name)
        if path is None or not path.is_file():
            return None, field_name, False
        return path.read_text(encoding="utf-8").strip(), field_name, False

    def _path(self, field_name: str) -> Path | None:
        named = os.environ.get(f"{field_name.upper()}_FILE")
        if named:
            if not Path(named).is_file():
                raise FileNotFoundError(f"{field_name.upper()}_FILE names {named!r}, which is not a file")
            return Path(named)
        folder = os.environ.get("SECRETS_DIR") or Path(os.environ.get("DATA_DIR") or ROOT / "data") / "secrets"
        return Path(folder) / field_name

    def __call__(self) -> dict[str, Any]:
        found = {}
        for field_name, field in self.settings_cls.model_fields.items():
            if field.annotation is SecretStr or field.annotation == (SecretStr | None):
                value, _, _ = self.get_field_value(field, field_name)
                if value is not None:
                    found[field_name] = value
        return found


class ServiceSettings(BaseSettings):
    """What every service reads. A service adds its own fields under its own prefix."""

    model_config = SettingsConfigDict(
        env_file=None, extra="ignore", populate_by_name=True, use_attribute_docstrings=True, validate_default=True
    )

    data_dir: Path = shared_name("DATA_DIR", ROOT / "data")
    """Folder of everything that is stored: databases, recordings, secrets."""
    models_dir: Path = shared_name("MODELS_DIR", ROOT / "models")
    """Folder of the weights, filled by `nemo models pull`."""
    secrets_dir: Path | None = shared_name("SECRETS_DIR", None)
    """Folder of one file per secret. Empty: `<DATA_DIR>/secrets`."""
    backup_dir: Path | None = shared_name("BACKUP_DIR", None)
    """Folder that `nemo backup` writes into. Empty: beside the data, `<DATA_DIR>-backups`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = shared_name("LOG_LEVEL", "INFO")
    """How much is logged."""
    log_format: Literal["json", "text"] = shared_name("LOG_FORMAT", "json")
    """json: one object a line, for a collector; text: for a reader at a terminal."""
    otel_exporter_otlp_endpoint: str | None = shared_name("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    """Base URL of a collector of traces (OTLP over HTTP), such as http://127.0.0.1:4318. Empty: no traces. Needs the
    extra `traces`."""
    trace_share: float = shared_name("TRACE_SHARE", 1.0, ge=0, le=1)
    """Share of the requests that are traced, from 0 to 1."""
    host: str = "127.0.0.1"
    """Address to listen on. Only the gateway is meant to be reached from elsewhere."""
    port: int = Field(default=0, ge=0, le=65535)
    """TCP port. 0: the one of this service in the table of ports."""

    database_url: SecretStr | None = shared_name("DATABASE_URL", None)
    """PostgreSQL as a URL. Empty: made from POSTGRES_*; without POSTGRES_HOST `nemo up` starts its own."""
    postgres_host: str | None = shared_name("POSTGRES_HOST", None)
    """Host of PostgreSQL. Empty: `nemo up` starts an embedded one."""
    postgres_port: int = shared_name("POSTGRES_PORT", 5432)
    """TCP port of PostgreSQL."""
    postgres_user: SecretStr = shared_name("POSTGRES_USER", SecretStr("nemo"))
    """Role in PostgreSQL."""
    postgres_password: SecretStr | None = shared_name("POSTGRES_PASSWORD", None)
    """Password of that role."""
    postgres_db: str = shared_name("POSTGRES_DB", "nemo")
    """Database in PostgreSQL."""
    redis_url: SecretStr | None = shared_name("REDIS_URL", None)
    """Redis as a URL. Empty: made from REDIS_*; without REDIS_HOST `nemo up` starts its own."""
    redis_host: str | None = shared_name("REDIS_HOST", None)
    """Host of Redis. Empty: `nemo up` starts an embedded one."""
    redis_port: int = shared_name("REDIS_PORT", 6379)
    """TCP port of Redis."""
    redis_password: SecretStr | None = shared_name("REDIS_PASSWORD", None)
    """Password of Redis."""

    rag_db_key: SecretStr | None = shared_name("RAG_DB_KEY", None)
    """Master key that wraps every user's data key; at least 32 characters."""
    rag_db_key_previous: SecretStr | None = shared_name("RAG_DB_KEY_PREVIOUS", None)
    """The master key before; still opens what `nemo rekey` has not come to. Empty: none."""

    scrape_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("SCRAPE_TOKEN", "API_GATEWAY_SCRAPE_TOKEN", "scrape_token")
    )
    """Lets a collector on another machine read /metrics as a bearer token. Empty: the gateway's from loopback only, and
    those of the other services by services only."""

    api_gateway_url: str | None = shared_name("API_GATEWAY_URL", None)
    """Where the gateway is. Empty: loopback and its usual port."""
    gemma_url: str | None = shared_name("GEMMA_URL", None)
    """Where the chat service is. Empty: loopback and its usual port."""
    gpu_coordinator_url: str | None = shared_name("GPU_COORDINATOR_URL", None)
    """Where the coordinator is. Empty: loopback and its usual port."""
    transcription_url: str | None = shared_name("TRANSCRIPTION_URL", None)
    """Where the transcription service is. Empty: loopback and its usual port."""
    rag_url: str | None = shared_name("RAG_URL", None)
    """Where the memory service is. Empty: loopback and its usual port."""
    emotion_url: str | None = shared_name("EMOTION_URL", None)
    """Where the emotion service is. Empty: loopback and its usual port."""
    tts_url: str | None = shared_name("TTS_URL", None)
    """Where the text to speech service is. Empty: loopback and its usual port."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_absent(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if value != ""}
        return values

    def plain(self) -> dict[str, Any]:
        """All fields but the secrets: what a model's process may know."""
        secret = {name for name, field in type(self).model_fields.items() if "SecretStr" in str(field.annotation)}
        return self.model_dump(mode="json", exclude=secret)

    @property
    def secrets_folder(self) -> Path:
        return self.secrets_dir or self.data_dir / "secrets"

    def url_of(self, service: str) -> str:
        """Base URL of a service by its network name, for example `gpu-coordinator`."""
        named = cast("str | None", getattr(self, f"{service.replace('-', '_')}_url"))
        return (named or f"http://127.0.0.1:{SERVICE_PORTS[service]}").rstrip("/")

    def port_of(self, service: str) -> int:
        return self.port or SERVICE_PORTS[service]

    def master_keys(self) -> tuple[str, str | None]:
        """The key that wraps users' keys, and the one before where there is one. Raises WeakSecret."""
        previous = self.rag_db_key_previous
        return (
            require_secret("RAG_DB_KEY", self.rag_db_key),
            require_secret("RAG_DB_KEY_PREVIOUS", previous) if previous else None,
        )

    def postgres_dsn(self) -> str:
        """URL of PostgreSQL. ValueError where none is configured."""
        if self.database_url:
            return self.database_url.get_secret_value()
        if not self.postgres_host:
            raise ValueError("Set DATABASE_URL or POSTGRES_HOST, or start the platform with `nemo up`.")
        user = quote(self.postgres_user.get_secret_value(), safe="")
        password = quote(_plain(self.postgres_password), safe="")
        return f"postgresql://{user}:{password}@{self.postgres_host}:{self.postgres_port}/{self.postgres_db}"

    def redis_dsn(self) -> str:
        """URL of Redis. ValueError where none is configured."""
        if self.redis_url:
            return self.redis_url.get_secret_value()
        if not self.redis_host:
            raise ValueError("Set REDIS_URL or REDIS_HOST, or start the platform with `nemo up`.")
        password = quote(_plain(self.redis_password), safe="")
        return f"redis://:{password}@{self.redis_host}:{self.redis_port}/0"


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


class WeakSecret(ValueError):
    """A secret is missing, short, an example or readable by others."""


EXAMPLES = ("changeme", "change-me", "secret", "password", "example", "placeholder", "your-", "xxxx", "todo")


def require_secret(name: str, secret: SecretStr | None, *, least: int = 32) -> str:
    """The secret itself. Raises WeakSecret with the way out where it is not fit for use."""
    value = _plain(secret)
    if not value:
        raise WeakSecret(f"{name} is not set. `nemo up` makes one; else set {name} or {name}_FILE.")
    if len(value) < least:
        raise WeakSecret(f"{name} has {len(value)} characters; at least {least} are needed.")
    if len(set(value)) < 8 or any(word in value.lower() for word in EXAMPLES):
        raise WeakSecret(f"{name} looks like an example. Make one with `openssl rand -hex 32`.")
    return value
