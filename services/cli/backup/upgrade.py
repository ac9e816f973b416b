"""`nemo upgrade-check`: what this version would change in what is stored, and whether that can be undone."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import asyncpg

from services.cli.backup import database, schemas, vaults
from services.cli.up import LEAST_DISK_BYTES
from shared.settings import ServiceSettings
from shared.storage import backup_records as records

FRESH = timedelta(days=1)
OK, NOT_READY, TOO_NEW = 0, 1, 3


async def run(settings: ServiceSettings) -> int:
    """0: go on. 1: make a backup or room first. 3: the data is newer than this version. Raises Refused."""
    data_dir = settings.data_dir.resolve()
    if not (data_dir / "users.db").exists():
        print(f"ok  nothing is stored in {data_dir} yet, so nothing will be changed")
        return OK
    async with database.reached(settings) as url:
        found = await _postgres(url)
        seen = await vaults.look(url, data_dir, settings.secrets_folder, whole=False)
    found["users"] = seen.users_schema
    _tell(found, seen)
    newer = schemas.newer(found | {"vault": max(seen.schemas, default=0)})
    for text in newer:
        print(f"!!  {text}. Install the newer version again, or restore a backup that was made before the upgrade.")
    if newer:
        return TOO_NEW
    ready = [_backup(data_dir), _space(data_dir)]
    return OK if all(ready) else NOT_READY


async def _postgres(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await database.schema_versions(connection)
    finally:
        await connection.close()


def _tell(found: dict[str, int], seen: vaults.Seen) -> None:
    ours = schemas.known()
    for name, number in sorted(found.items()):
        print(f"    {name:<16} {_step(number, ours.get(name, 0))}")
    for number, count in sorted(seen.schemas.items()):
        print(f"    {'vaults':<16} {count} at {_step(number, ours['vault'])}, each when it is next opened")
    if seen.sealed:
        print(f"    {'sealed vaults':<16} {seen.sealed}, each looked at when its user next unlocks it")


def _step(number: int, ours: int) -> str:
    return f"schema {number}, as it is" if number == ours else f"schema {number}, becomes {ours}"


def _backup(data_dir: Path) -> bool:
    made = records.read(data_dir).get("made")
    if made is None:
        print("!!  No backup was ever made here. Run `nemo backup` first.")
        return False
    if not Path(made["archive"]).is_file():
        print(f"!!  The last backup, {made['archive']}, is not there any more. Run `nemo backup` first.")
        return False
    age = records.age(made)
    if age > FRESH:
        print(f"!!  The last backup is {age.days} days old. Run `nemo backup` first.")
        return False
    print(f"ok  the last backup is {age.total_seconds() / 3600:.1f} hours old: {made['archive']}")
    return True


def _space(data_dir: Path) -> bool:
    """A migration writes what it changes into a log beside it, so the largest file may be there twice."""
    largest = max((path.stat().st_size for path in data_dir.glob("vaults/*.db")), default=0)
    need, free = max(LEAST_DISK_BYTES, 3 * largest), shutil.disk_usage(data_dir).free
    if free < need:
        print(f"!!  {need / 1e6:.0f} MB may be needed below {data_dir}, and {free / 1e6:.0f} MB are free.")
        return False
    print(f"ok  {free / 1e9:.1f} GB are free")
    return True
