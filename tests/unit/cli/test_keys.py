"""Secrets: made once, refused when weak, open or lost, and told to nobody who does not need them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.cli import keys
from shared.auth.service_tokens import ServiceIdentity
from shared.settings import SERVICE_PORTS, ServiceSettings

FIT = "k3J9-xQ7v_R2mZ8wLp5tYb1nHc6dFg4s0AeU"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def folder(data: Path) -> Path:
    keys.ensure(data / "secrets", data)
    return data / "secrets"


def test_the_first_start_makes_every_secret_for_our_eyes_only(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in (*(folder / name for name in keys.NAMES), *(folder / "service_keys").glob("*.key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = {keys.value(folder, name) for name in keys.NAMES}
    assert len(values) == len(keys.NAMES) and all(len(value) >= 32 for value in values)


def test_the_next_start_changes_nothing(folder: Path, data: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    keys.ensure(folder, data)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_service_finds_the_identity_that_was_made_for_it(folder: Path, data: Path) -> None:
    settings = ServiceSettings(data_dir=data)
    for name in SERVICE_PORTS:
        assert ServiceIdentity.from_settings(name, settings).service == name


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is not set"),
        ("short", "at least 32"),
        ("changeme-changeme-changeme-changeme-1", "looks like an example"),
        ("a" * 40, "looks like an example"),
    ],
)
def test_a_weak_secret_is_refused_with_the_way_out(folder: Path, data: Path, value: str, says: str) -> None:
    (folder / "rag_db_key").write_text(value)
    with pytest.raises(keys.UnsafeSecret, match=says) as refused:
        keys.ensure(folder, data)
    assert str(folder / "rag_db_key") in str(refused.value)
    assert not value or value not in str(refused.value)


@pytest.mark.parametrize("name", ["session_secret", "service_keys/rag.key"])
def test_a_secret_that_others_can_read_is_refused(folder: Path, data: Path, name: str) -> None:
    (folder / name).chmod(0o644)
    with pytest.raises(keys.UnsafeSecret, match=r"chmod 600 '.*" + Path(name).name):
        keys.ensure(folder, data)


@pytest.mark.parametrize(("name", "locked"), [("rag_db_key", "postgres"), ("users_db_key", "users.db")])
def test_a_lost_key_is_never_replaced_while_its_data_is_there(folder: Path, data: Path, name: str, locked: str) -> None:
    (folder / name).unlink()
    (data / locked).touch()
    with pytest.raises(keys.UnsafeSecret, match="from your backup"):
        keys.ensure(folder, data)
    assert not (folder / name).exists()


def test_a_lost_key_that_locks_nothing_is_made_again(folder: Path, data: Path) -> None:
    (folder / "jwt_secret_primary").unlink()
    (data / "users.db").touch()
    keys.ensure(folder, data)
    assert len(keys.value(folder, "jwt_secret_primary")) >= 32


@pytest.mark.parametrize("variable", ["JWT_SECRET", "JWT_SECRET_PRIMARY", "JWT_SECRET_FILE", "JWT_SECRET_PRIMARY_FILE"])
def test_an_operators_own_secret_is_taken(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (tmp_path / "given").write_text(FIT + "\n")
    monkeypatch.setenv(variable, str(tmp_path / "given") if variable.endswith("_FILE") else FIT)
    keys.ensure(data / "secrets", data)
    assert not (data / "secrets" / "jwt_secret_primary").exists()
    assert keys.of_service("api-gateway", data / "secrets")["JWT_SECRET_PRIMARY"] == FIT


def test_a_weak_secret_of_the_environment_is_refused_too(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_SECRET", "tiny")
    with pytest.raises(keys.UnsafeSecret, match="from the environment"):
        keys.ensure(data / "secrets", data)


def test_each_service_is_told_its_own_secrets_only(folder: Path) -> None:
    told = {name: set(keys.of_service(name, folder)) for name in SERVICE_PORTS}
    assert told["emotion"] == told["gemma"] == told["gpu-coordinator"] == set()
    assert told["rag"] == told["transcription"] == {"RAG_DB_KEY"}
    (folder / "jwt_secret_previous").write_text(FIT)
    told["api-gateway"] |= set(keys.of_service("api-gateway", folder))
    assert told["api-gateway"] == {
        "SESSION_SECRET",
        "USERS_DB_KEY",
        "RAG_DB_KEY",
    }  # the others it follows in their files
