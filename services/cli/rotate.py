"""`nemo rotate`: a new secret in place of the old.

`jwt`, another key for access tokens, while the platform runs and nobody is signed out.

Gateways look at the files every second, each at its own moment. So the new key is first one that all of them accept,
and signs only when they do; the old one goes on being accepted for longer than any token lives. Each step is one
renamed file, and a rotation that was killed is simply begun anew.

`postgres`, `redis` and `services`, the passwords of the embedded databases and the keys that services sign their calls
with, while it is down: each service is told them once, when it starts.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from services.api_gateway.signing import LOOK_S, PREVIOUS, PRIMARY
from services.cli import keys, up
from services.cli.backup import database
from services.cli.embedded import POSTGRES_USER, EmbeddedMissing
from shared.auth.service_tokens import generate_key
from shared.settings import SERVICE_PORTS, ServiceSettings
from shared.storage.blobs import sync_folder

SETTLE_S = 10 * LOOK_S
"""Until every gateway has looked, also a busy one."""
PASSWORD, NEXT = "postgres_password", "postgres_password_next"
LONGEST_LIFE_S = 3600.0
"""No access token lives longer (API_GATEWAY_ACCESS_LIFE_S is 900); keys that were put aside earlier go."""


class CannotRotate(RuntimeError):
    """Something outside has to change first; the message says what and how."""


def jwt(settings: ServiceSettings) -> int:
    folder = settings.secrets_folder.resolve()
    if keys.given(PRIMARY):
        raise CannotRotate(
            "JWT_SECRET comes from your environment. Set JWT_SECRET_PREVIOUS to a new secret and start the gateways"
            " anew one by one; then exchange the two and start them anew once more."
        )
    if not (folder / PRIMARY).is_file():
        raise CannotRotate(f"There is no {folder / PRIMARY} yet; the first `nemo up` makes it.")
    elsewhere = settings.database_url or settings.postgres_host  # containers: nobody here knows who runs
    with _alone(folder):
        _rotate(folder, SETTLE_S if elsewhere or up.running_pid(settings.data_dir) is not None else 0.0)
    print("ok  access tokens are signed with a new key. The old one is accepted until the next rotation removes it;")
    print(f"    to remove it sooner, delete {folder / PREVIOUS} an hour from now.")
    return 0


def run(settings: ServiceSettings, what: str) -> int:
    """Raises CannotRotate, and CannotStart while the platform runs and the secret needs it to be down."""
    if what == "jwt":
        return jwt(settings)
    data_dir, folder = settings.data_dir.resolve(), settings.secrets_folder.resolve()
    if not folder.is_dir():
        raise CannotRotate(f"There is no {folder} yet; the first `nemo up` makes it.")
    with up.held(data_dir, "rotate", 0), _alone(folder):
        {"postgres": _postgres, "redis": _redis, "services": _services}[what](settings, data_dir, folder)
    print("ok  a new secret is in place. Start the platform: `nemo up`. Backups made before hold the old one.")
    return 0


def _postgres(settings: ServiceSettings, data_dir: Path, folder: Path) -> None:
    if settings.database_url or settings.postgres_host:
        raise CannotRotate(
            "PostgreSQL is your own: change the password there (ALTER ROLE), then DATABASE_URL or POSTGRES_PASSWORD."
        )
    if keys.given(PASSWORD):
        raise CannotRotate("POSTGRES_PASSWORD comes from your environment; unset it for a password of our own.")
    if not (data_dir / "postgres").exists():
        raise CannotRotate("There is no embedded database yet; the first `nemo up` makes it.")
    if not (folder / NEXT).exists():
        _write(folder, NEXT, secrets.token_urlsafe(48))
    asyncio.run(_password(data_dir, keys.value(folder, PASSWORD), (folder / NEXT).read_text(encoding="utf-8").strip()))
    (folder / NEXT).replace(folder / PASSWORD)
    sync_folder(folder)


async def _password(data_dir: Path, old: str, new: str) -> None:
    """Killed between this and the renamed file, the next run finds the new one in use already."""
    try:
        async with database.started(data_dir, old) as url:
            connection = await asyncpg.connect(url)
            await connection.execute(f"ALTER ROLE {POSTGRES_USER} PASSWORD '{new}'")  # urlsafe: it holds no quote
            await connection.close()
    except EmbeddedMissing:  # refused: is it the new one?
        async with database.started(data_dir, new):
            return


def _redis(settings: ServiceSettings, data_dir: Path, folder: Path) -> None:
    if settings.redis_url or settings.redis_host or keys.given("redis_password"):
        raise CannotRotate("Redis is your own: change its password there, then REDIS_URL or REDIS_PASSWORD.")
    _write(folder, "redis_password", secrets.token_urlsafe(48))


def _services(settings: ServiceSettings, data_dir: Path, folder: Path) -> None:
    """Where this is killed between two of them, the next start makes those that are gone."""
    for service in SERVICE_PORTS:
        (folder / "service_keys" / f"{service}.key").unlink(missing_ok=True)
        generate_key(folder / "service_keys", service)
    sync_folder(folder / "service_keys")


def _rotate(folder: Path, settle_s: float) -> None:
    old, new = keys.value(folder, PRIMARY), secrets.token_urlsafe(48)
    others = _still_needed(folder / PREVIOUS)
    _write(folder, PREVIOUS, " ".join([new, *others]))
    print("a new key is accepted; waiting for every gateway to know it", flush=True)
    time.sleep(settle_s)
    _write(folder, PREVIOUS, " ".join(dict.fromkeys([old, new, *others])))
    _write(folder, PRIMARY, new)
    time.sleep(settle_s)
    _write(folder, PREVIOUS, " ".join(dict.fromkeys([old, *others])))


def _still_needed(path: Path) -> list[str]:
    """Keys of rotations within the life of a token; also one that a killed rotation left."""
    if not path.is_file() or time.time() - path.stat().st_mtime > LONGEST_LIFE_S:
        return []
    return path.read_text(encoding="utf-8").split()


def _write(folder: Path, name: str, text: str) -> None:
    keys.write(folder / name, text)
    sync_folder(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CannotRotate("Another rotation is running; wait until it is done.") from error
    finally:
        os.close(lock)
