"""Secrets: made on the first start, one file each, mode 0600."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from shared.auth.service_tokens import generate_key
from shared.settings import SERVICE_PORTS

NAMES = (
    "jwt_secret_primary",
    "session_secret",
    "users_db_key",
    "rag_db_key",
    "postgres_password",
    "redis_password",
)
BELONGS = {
    "api-gateway": ("jwt_secret_primary", "jwt_secret_previous", "session_secret", "users_db_key", "rag_db_key"),
    "transcription": ("rag_db_key",),
    "rag": ("rag_db_key",),
}
"""Which service may read which secret; the others never see it."""


class UnsafeSecret(RuntimeError):
    """A secret file can be read by others."""


def ensure(folder: Path) -> None:
    """Make what is missing. Raises UnsafeSecret where others can read what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in NAMES:
        path = folder / name
        if not path.exists():
            _write(path, secrets.token_urlsafe(48))
    for service in SERVICE_PORTS:
        generate_key(folder / "service_keys", service)
    check(folder)


def _write(path: Path, value: str) -> None:
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def check(folder: Path) -> None:
    private = [folder / name for name in NAMES] + sorted((folder / "service_keys").glob("*.key"))
    for path in private:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UnsafeSecret(f"{path} can be read by other users. Run: chmod 600 '{path}'")


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8").strip()
