"""Secrets: made on the first start, one file each, mode 0600."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from shared.auth.service_tokens import generate_key
from shared.settings import SERVICE_PORTS, WeakSecret, require_secret
from shared.storage.blobs import sync_folder

NAMES = (
    "jwt_secret_primary",
    "session_secret",
    "users_db_key",
    "rag_db_key",
    "postgres_password",
    "redis_password",
)
BELONGS = {
    "api-gateway": (
        "jwt_secret_primary",
        "jwt_secret_previous",
        "session_secret",
        "users_db_key",
        "rag_db_key",
        "rag_db_key_previous",
    ),
    "transcription": ("rag_db_key", "rag_db_key_previous"),
    "rag": ("rag_db_key", "rag_db_key_previous"),
}
"""Which service is told which secret; no other finds it in its environment."""
FOLLOWED = ("jwt_secret_primary", "jwt_secret_previous")
"""Read from their files by the gateway itself, which sees `nemo rotate jwt` exchange them."""
USES_POSTGRES = ("api-gateway", "gpu-coordinator", "transcription", "rag")
_UNLOCKS = {
    "session_secret": "users.db",
    "users_db_key": "users.db",
    "rag_db_key": "postgres",
    "postgres_password": "postgres",
}
"""Without the secret, what is stored there cannot be used any more."""
_ALSO = {"jwt_secret_primary": ("JWT_SECRET",)}
_CHOSEN = ("postgres_password", "redis_password")
"""May be ones that an operator chose for databases of his own, so a shorter one will do."""


class UnsafeSecret(RuntimeError):
    """A secret is missing, weak, or can be read by others."""


def ensure(folder: Path, data_dir: Path) -> None:
    """Make what is neither there nor given. Raises UnsafeSecret where it is not fit for use, or is lost."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in NAMES:
        if not (folder / name).exists() and not given(name):
            _require_nothing_locked(folder / name, data_dir / _UNLOCKS.get(name, ".nothing"))
            write(folder / name, secrets.token_urlsafe(48))
    for service in SERVICE_PORTS:
        generate_key(folder / "service_keys", service)
    check(folder)


def _require_nothing_locked(path: Path, locked: Path) -> None:
    if locked.exists():
        raise UnsafeSecret(
            f"{path} is gone, and {locked} cannot be read without it. Put the file back from your backup. Only to "
            f"begin empty: move {locked.parent} away."
        )


def write(path: Path, value: str) -> None:
    """Whole or not at all, readable by its owner only."""
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def check(folder: Path) -> None:
    """Raises UnsafeSecret for the first that is missing, weak or readable by others."""
    for error in faults(folder):
        raise error


def faults(folder: Path) -> Iterator[UnsafeSecret]:
    """What is not fit for use, each with the file and the way out."""
    private = [folder / name for name in NAMES if not given(name)] + sorted((folder / "service_keys").glob("*.key"))
    for path in private:
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield UnsafeSecret(f"{path} can be read by other users. Run: chmod 600 '{path}'")
    for name in NAMES:
        place = "the environment" if given(name) else str(folder / name)
        try:
            require_secret(name.upper(), SecretStr(value(folder, name)), least=12 if name in _CHOSEN else 32)
        except (WeakSecret, OSError) as error:
            yield UnsafeSecret(f"{error} It comes from {place}.")


def given(name: str) -> dict[str, str]:
    """The variables of our own environment that carry a secret or name its file."""
    plain = (*_ALSO.get(name, ()), name.upper())
    wanted = (*plain, *(f"{each}_FILE" for each in plain))
    return {each: os.environ[each] for each in wanted if os.environ.get(each)}


def value(folder: Path, name: str) -> str:
    """The secret itself: from the environment, from the file that it names, or from ours."""
    for variable, found in given(name).items():
        return Path(found).read_text(encoding="utf-8").strip() if variable.endswith("_FILE") else found
    return (folder / name).read_text(encoding="utf-8").strip()


def begin_rekey(folder: Path) -> None:
    """A new master key, and the old one beside it. After a kill it goes on with what is there."""
    current, previous = folder / "rag_db_key", folder / "rag_db_key_previous"
    if not previous.exists():
        write(previous, value(folder, "rag_db_key"))
        sync_folder(folder)
    if previous.read_text(encoding="utf-8").strip() == value(folder, "rag_db_key"):
        write(current, secrets.token_urlsafe(48))
        sync_folder(folder)


def end_rekey(folder: Path) -> None:
    """Nothing needs the old master key any more."""
    (folder / "rag_db_key_previous").unlink()
    sync_folder(folder)


def of_service(service: str, folder: Path) -> dict[str, str]:
    """The secrets of one service, as variables; those that it follows in their files only where they are given."""
    own = BELONGS.get(service, ())
    followed = {name for name in FOLLOWED if not given(name)}
    return {
        name.upper(): value(folder, name)
        for name in own
        if name not in followed and (given(name) or (folder / name).is_file())
    }
