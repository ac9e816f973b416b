"""What the command line says for `nemo backup`, `nemo restore` and `nemo upgrade-check`."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from services.cli.backup import Refused, drill, key, make, restore
from shared.errors import ProductError
from shared.settings import ServiceSettings
from shared.storage import backup_records as records

Result = TypeVar("Result")


def folder_of(settings: ServiceSettings, to: Path | None) -> Path:
    data_dir = settings.data_dir.resolve()
    return (to or settings.backup_dir or data_dir.with_name(f"{data_dir.name}-backups")).resolve()


def init(settings: ServiceSettings, key_file: Path | None) -> int:
    code = key.init(settings.secrets_folder, key_file)
    print("The recovery code of your backups:\n")
    print(f"    {code}\n")
    print("It is shown this once and is not stored on this machine. Write it down and keep it elsewhere: without it no")
    print("archive can be opened, by nobody.")
    if key_file is not None:
        print(f"It is also in {key_file}; move that file to another machine.")
    return 0


async def backup(settings: ServiceSettings, to: Path | None, keep: int | None) -> int:
    made = await _plainly(make.run(settings, folder_of(settings, to), keep))
    told = ", ".join(f"{count} {name}" for name, count in made.counts.items())
    print(f"ok  {made.path} ({made.bytes / 1e6:.1f} MB in {made.seconds:.1f} s): {told}")
    return 0


def verify(settings: ServiceSettings, path: Path, key_file: Path | None) -> int:
    found = drill.verify(settings.data_dir.resolve(), path, key.private(key_file))
    told = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    print(f"ok  {path} of {found.about['created_at']} is whole: {told}")
    return 0


async def practise(settings: ServiceSettings, path: Path | None, key_file: Path | None) -> int:
    path = path or _last(settings)
    private = key.private(key_file)
    scratch = folder_of(settings, None)
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    seen = await _plainly(drill.run(settings.data_dir.resolve(), scratch, path, private))
    told = ", ".join(f"{name} {count}" for name, count in sorted(seen.rows.items()))
    print(f"ok  {path} was restored for practice: {seen.vaults} vaults opened, {seen.sealed} sealed ones left alone,")
    print(f"    {seen.recordings} recordings and documents read to their end; rows: {told}")
    return 0


def _last(settings: ServiceSettings) -> Path:
    made = records.read(settings.data_dir).get("made")
    if made is None:
        raise Refused("No backup was made here yet; name the archive.")
    return Path(made["archive"])


async def bring_back(
    settings: ServiceSettings, path: Path, to: Path | None, key_file: Path | None, *, replace: bool, deleted: bool
) -> int:
    target = (to or settings.data_dir).resolve()
    private = key.private(key_file)
    aside = await _plainly(restore.run(settings, path.resolve(), target, private, replace=replace, deleted=deleted))
    print(f"ok  restored into {target}")
    if aside is not None:
        print(
            f"    What was there before is in {aside}. Remove it once you are content; to go back, stop the platform,"
        )
        print("    move the restored folder away and this one to its place.")
    for name in restore.differing_secrets(settings, target):
        print(f"!!  {name} comes from your environment or SECRETS_DIR and is not that of the backup: the restored data")
        print(f"    needs the one in {target / 'secrets' / name}. Put it there before you start.")
    print("    Start the platform as always.")
    return 0


async def _plainly(work: Awaitable[Result]) -> Result:
    """Errors of the product as the command line says errors."""
    try:
        return await work
    except ProductError as error:
        raise Refused(error.detail) from error
