"""`nemo rekey`: another master key for all users' keys, while the platform is down.

The old key goes into the file `rag_db_key_previous`, the new one takes its place, each row is wrapped anew by one
UPDATE, and the old key is removed once no row needs it. Killed anywhere, the platform starts with both keys and reads
every row; run again, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.cli import keys, up
from services.cli.embedded import EmbeddedPostgres
from services.cli.processes import Supervisor
from shared.crypto.envelope import WrongKey
from shared.errors import ProductError
from shared.settings import ServiceSettings
from shared.storage import postgres
from shared.storage.keyring import PostgresKeyring

NAME, PREVIOUS = "rag_db_key", "rag_db_key_previous"
READY_S = 60.0


async def run(settings: ServiceSettings) -> int:
    """Raises CannotStart while the platform runs."""
    data_dir, folder = settings.data_dir.resolve(), settings.secrets_folder.resolve()
    theirs = bool(keys.given(NAME))
    if theirs and not keys.given(PREVIOUS):
        print(
            "!!  RAG_DB_KEY comes from your environment: put the new key there, the old one into RAG_DB_KEY_PREVIOUS."
        )
        return 2
    with up.held(data_dir, "rekey", 0):
        if not theirs:
            keys.begin_rekey(folder)
        try:
            count = await _rewrapped(settings, keys.value(folder, NAME), keys.value(folder, PREVIOUS))
        except WrongKey:
            print("!!  A key opens under neither master key, so both were kept. Put back the files of your backup.")
            return 1
        except ProductError as error:
            print(f"!!  {error.detail} Both keys were kept; run `nemo rekey` again.")
            return 1
        if not theirs:
            keys.end_rekey(folder)
    print(f"{count} keys are under the new master key, and none needs the old one.")
    print("Remove RAG_DB_KEY_PREVIOUS from your environment." if theirs else "Back up the folder of the secrets anew.")
    return 0


async def _rewrapped(settings: ServiceSettings, new: str, old: str) -> int:
    async with _database(settings) as url:
        pool = await postgres.connect(url)
        try:
            ring = PostgresKeyring(pool, new, old)
            await ring.prepare()
            return await ring.rewrap()
        finally:
            await pool.close()


@asynccontextmanager
async def _database(settings: ServiceSettings) -> AsyncIterator[str]:
    """The operator's own, else the embedded one for as long as it takes."""
    if settings.database_url or settings.postgres_host:
        yield settings.postgres_dsn()
        return
    server = EmbeddedPostgres(settings.data_dir.resolve(), keys.value(settings.secrets_folder, "postgres_password"))
    await server.prepare()
    supervisor, child = Supervisor(lambda _name, _line: None), server.child()
    try:
        await supervisor.start(child)
        if not await supervisor.wait_ready(child, READY_S):
            raise up.CannotStart("PostgreSQL did not start. Nothing is lost: run `nemo rekey` again, or `nemo up`.")
        yield server.url
    finally:
        await supervisor.stop()
