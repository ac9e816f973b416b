"""What keeps a service from starting is one line that says what to do, as containers run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli import keys
from tests.conftest import nemo


def started(service: str, folder: Path, **more: str) -> tuple[int, list[str]]:
    """Exit code and what was said as an error."""
    told = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    ended = nemo(folder, "run", service, **told | more)
    lines = [json.loads(each) for each in ended.stderr.splitlines() if each.startswith("{")]
    assert "Traceback" not in ended.stderr + ended.stdout
    return ended.returncode, [each["message"] for each in lines if each["level"] == "ERROR"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda key: key.unlink(), "service_keys/rag.key is missing. `nemo up` makes"),
        (lambda key: key.write_text(""), "service_keys/rag.key is not a key in PEM. `nemo up` makes"),
        (lambda key: key.with_suffix(".pub").unlink(), "service_keys/rag.pub is missing. `nemo up` makes"),
    ],
    ids=["missing", "empty", "public half missing"],
)
def test_the_key_of_a_service(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    keys.ensure(tmp_path / "secrets", tmp_path)
    spoil(tmp_path / "secrets" / "service_keys" / "rag.key")
    code, said = started("rag", tmp_path)
    assert code != 0
    assert said[0].startswith("rag cannot start: ") and says in said[0]


def test_no_redis_is_configured(tmp_path: Path) -> None:
    keys.ensure(tmp_path / "secrets", tmp_path)
    code, said = started("emotion", tmp_path, REDIS_URL="")
    assert code != 0 and said[0].startswith("emotion cannot start: Set REDIS_URL or REDIS_HOST")


def test_a_password_that_postgres_refuses(tmp_path: Path, postgres_url: str) -> None:
    keys.ensure(tmp_path / "secrets", tmp_path)
    user, server = postgres_url.removeprefix("postgresql://").split(":", 1)[0], postgres_url.split("@")[1]
    code, said = started("transcription", tmp_path, DATABASE_URL=f"postgresql://{user}:not-it@{server}")
    assert code != 0
    assert said[0].startswith("transcription cannot start: PostgreSQL refused us: password authentication failed")
    assert "not-it" not in said[0]


def test_a_secret_that_is_not_fit(tmp_path: Path, postgres_url: str) -> None:
    keys.ensure(tmp_path / "secrets", tmp_path)
    (tmp_path / "secrets" / "users_db_key").write_text("short")
    code, said = started("api-gateway", tmp_path, DATABASE_URL=postgres_url)
    assert code != 0 and said[0] == "api-gateway cannot start: USERS_DB_KEY has 5 characters; at least 32 are needed."
