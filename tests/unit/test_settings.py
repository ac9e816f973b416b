"""Settings: the names that operators know, secrets from files, and no weak ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from services.api_gateway.settings import Settings as GatewaySettings
from services.transcription.settings import Settings
from shared.settings import WeakSecret, require_secret


def test_operators_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "POSTGRES_HOST": "db",
        "POSTGRES_PASSWORD": "p@ss/word",
        "REDIS_HOST": "cache",
        "REDIS_PASSWORD": "r",
        "TRANSCRIPTION_MODEL": "large-v3",
        "TRANSCRIPTION_PORT": "9003",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings(data_dir=tmp_path)
    assert settings.postgres_dsn() == "postgresql://nemo:p%40ss%2Fword@db:5432/nemo"
    assert settings.redis_dsn() == "redis://:r@cache:6379/0"
    assert settings.transcription_model == "large-v3" and settings.port_of("transcription") == 9003
    monkeypatch.setenv("RAG_URL", "http://rag:8004/")
    assert Settings(data_dir=tmp_path).url_of("rag") == "http://rag:8004"


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("from a file\n")
    monkeypatch.setenv("USERS_DB_KEY_FILE", str(tmp_path / "jwt"))
    assert GatewaySettings().users_db_key.get_secret_value() == "from a file"  # type: ignore[union-attr]
    monkeypatch.setenv("JWT_SECRET", "from the environment")
    assert GatewaySettings().jwt_secret_primary.get_secret_value() == "from the environment"  # type: ignore[union-attr]
    monkeypatch.setenv("USERS_DB_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="USERS_DB_KEY_FILE"):
        GatewaySettings()


@pytest.mark.parametrize("value", ["", "short", "changeme" * 8, "a" * 64, "your-secret-key-goes-here-0123456789"])
def test_weak_secrets_do_not_start(value: str) -> None:
    with pytest.raises(WeakSecret):
        require_secret("JWT_SECRET", SecretStr(value) if value else None)


def test_registration_is_open_on_loopback_only() -> None:
    assert GatewaySettings(host="127.0.0.1").registration_open
    assert not GatewaySettings(host="0.0.0.0").registration_open
    assert GatewaySettings(host="0.0.0.0", registration="open").registration_open
