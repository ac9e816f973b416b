"""`nemo rotate postgres`, `redis` and `services`, which the platform is down for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from services.cli import keys, rotate
from services.cli.backup import database
from services.cli.embedded import EmbeddedMissing
from services.cli.up import CannotStart, held
from shared.auth.service_tokens import ServiceIdentity
from shared.settings import SERVICE_PORTS, ServiceSettings


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> ServiceSettings:
    data = tmp_path_factory.mktemp("rotating")
    keys.ensure(data / "secrets", data)
    return ServiceSettings(data_dir=data)


async def opens(data: Path, password: str) -> bool:
    try:
        async with database.started(data, password) as url:
            connection = await asyncpg.connect(url)
            found = await connection.fetchval("SELECT word FROM kept")
            await connection.close()
            return bool(found == "here")
    except EmbeddedMissing:
        return False


async def fill(data: Path, password: str) -> None:
    async with database.started(data, password) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')")
        await connection.close()


def test_the_password_of_the_embedded_database(settings: ServiceSettings) -> None:
    data, folder = settings.data_dir.resolve(), settings.secrets_folder
    old = keys.value(folder, rotate.PASSWORD)
    asyncio.run(fill(data, old))
    assert rotate.run(settings, "postgres") == 0
    new = keys.value(folder, rotate.PASSWORD)
    assert new != old and not (folder / rotate.NEXT).exists()
    assert asyncio.run(opens(data, new)) and not asyncio.run(opens(data, old))
    # killed when the database had the next one and the file had not
    keys.write(folder / rotate.NEXT, new)
    keys.write(folder / rotate.PASSWORD, old)
    assert rotate.run(settings, "postgres") == 0
    assert keys.value(folder, rotate.PASSWORD) == new and not (folder / rotate.NEXT).exists()


def test_keys_of_services_and_the_password_of_redis(settings: ServiceSettings) -> None:
    folder = settings.secrets_folder
    before = {path: path.read_bytes() for path in (folder / "service_keys").iterdir()}
    password = keys.value(folder, "redis_password")
    assert rotate.run(settings, "services") == 0 and rotate.run(settings, "redis") == 0
    after = {path: path.read_bytes() for path in (folder / "service_keys").iterdir()}
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())
    assert keys.value(folder, "redis_password") != password
    keys.check(folder)
    rag, gateway = (ServiceIdentity.from_settings(name, settings) for name in ("rag", "api-gateway"))
    assert rag.verify(gateway.token_for("rag"))[0].service == "api-gateway" and len(SERVICE_PORTS) * 2 == len(after)


@pytest.mark.parametrize("what", ["postgres", "redis", "services"])
def test_not_while_the_platform_runs(settings: ServiceSettings, what: str) -> None:
    with held(settings.data_dir, "127.0.0.1", 9100), pytest.raises(CannotStart, match="already running"):
        rotate.run(settings, what)


def test_secrets_that_are_not_ours_stay(settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = settings.model_copy(update={"postgres_host": "db", "redis_host": "cache"})
    with pytest.raises(rotate.CannotRotate, match="ALTER ROLE"):
        rotate.run(theirs, "postgres")
    with pytest.raises(rotate.CannotRotate, match="REDIS_PASSWORD"):
        rotate.run(theirs, "redis")
    with pytest.raises(rotate.CannotRotate, match="first `nemo up`"):
        rotate.run(settings, "postgres")  # no database was made yet
    monkeypatch.setenv("POSTGRES_PASSWORD", "chosen by an operator")
    with pytest.raises(rotate.CannotRotate, match="from your environment"):
        rotate.run(settings, "postgres")
