"""`nemo restore`: the whole archive is read and compared before anything of what is there is touched.

It is unpacked beside the data folder, the database is filled there, and only then the folders change places. What was
there before is kept beside, so going back is a rename.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets as random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from services.cli import keys, up
from services.cli.backup import Refused, archive, database, deletions, schemas
from services.cli.backup.progress import Progress
from shared.settings import ServiceSettings
from shared.storage.blobs import sync_folder

INCOMING = ".incoming"
OURS = ("before-restore-", ".restore-")
SPARE_BYTES = 256 * 1024**2
"""A new cluster of PostgreSQL, and its log."""
_EXCHANGE, _AT_FDCWD = 2, -100


async def run(
    settings: ServiceSettings, path: Path, target: Path, private: bytes, *, replace: bool, deleted: bool = False
) -> Path | None:
    """Where the data that was there lies now; None where there was none. Raises Refused, CannotStart.

    `deleted`: also bring back what its users have deleted since the backup was made.
    """
    target = target.resolve()
    _require_room_for(target, replace=replace)
    inside = target.is_mount()
    with _held(target), _staging(target if inside else target.parent, target.name) as staging:
        found = unpack(path, private, staging)
        async with filled(settings, staging, found, replace=replace) as url:
            if not deleted:
                await deletions.again(found.about["deletions"], target, staging, url)
            shutil.rmtree(staging / INCOMING)
        os.sync()
        return _moved_in(staging, target) if inside else _switched(staging, target)


def unpack(path: Path, private: bytes, staging: Path) -> archive.Unpacked:
    """Everything into `staging`. Raises Refused unless every byte is as it was written."""
    size = path.stat().st_size if path.exists() else 0
    progress = Progress("reading", size)

    def accept(about: dict[str, Any]) -> None:
        newer = schemas.newer(about["schemas"])
        if newer:
            raise Refused(
                f"This archive was made by version {about['version']}, which is newer: {'; '.join(newer)}. Install "
                "that version or a later one, then restore."
            )
        free, need = shutil.disk_usage(staging).free, 2 * size + SPARE_BYTES
        if free < need:
            raise Refused(f"{need / 1e6:.0f} MB are needed beside the data folder, and {free / 1e6:.0f} MB are free.")

    def each(member: archive.Member) -> None:
        folder, _, name = member.name.partition("/")
        member.save(staging / INCOMING / name if folder == "postgres" else staging / member.name)
        progress.add(member.bytes)

    try:
        found = archive.unpack(path, private, each, accept)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused(
            f"The disk below {staging.parent} is full, where the archive is unpacked first. Nothing was touched; free "
            "some space, or name another folder with --to."
        ) from error
    progress.end()
    return found


@asynccontextmanager
async def filled(
    settings: ServiceSettings | None, staging: Path, found: archive.Unpacked, *, replace: bool = False
) -> AsyncIterator[str]:
    """URL of a database with the archive's rows: the operator's, or embedded where there is none (or no `settings`)."""
    (staging / INCOMING).mkdir(exist_ok=True)
    about = found.about["database"]
    versions = {name: number for name, number in found.about["schemas"].items() if name in schemas.FOLDERS}
    versions = {name: number for name, number in versions.items() if _has_tables(name, about)}
    if settings is not None and (settings.database_url or settings.postgres_host):
        url = settings.postgres_dsn()
        await database.load(url, staging / INCOMING, about, versions, replace=replace)
        yield url
        return
    async with database.started(staging, _password(staging)) as url:
        await database.load(url, staging / INCOMING, about, versions, replace=False)
        yield url


def _has_tables(service: str, about: dict[str, Any]) -> bool:
    """The vectors in PostgreSQL are made anew by who uses them, on a server that has the extension."""
    sign = {"gpu-coordinator": "task", "transcription": "recording"}.get(service)
    return sign in about["columns"]


def _password(staging: Path) -> str:
    path = staging / "secrets" / "postgres_password"
    if not path.exists():  # the backup was made of a database whose password was in its URL
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(random.token_urlsafe(48), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _require_room_for(target: Path, *, replace: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        there = [each for each in target.iterdir() if not each.name.startswith(OURS)] if target.exists() else []
    except OSError as error:
        raise Refused(f"{target} cannot be used ({error.strerror}). Name another folder with --to.") from error
    if there and not replace:
        raise Refused(
            f"{target} holds data already. With `--replace` it is put aside, whole, and the backup takes its place; or "
            "name another folder with --to."
        )


def _held(target: Path) -> Any:
    """Raises CannotStart while the platform runs there."""
    return up.held(target, "restore", 0) if (target / up.PID_FILE).exists() else nullcontext()


@contextmanager
def _staging(folder: Path, name: str) -> Iterator[Path]:
    try:
        for left in folder.glob(f".restore-{name}-*"):
            shutil.rmtree(left)
        staging = folder / f".restore-{name}-{os.getpid()}"
        staging.mkdir(mode=0o700)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}); the archive is unpacked there first.") from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _switched(staging: Path, target: Path) -> Path | None:
    """In one step of the file system, so that a power cut leaves the one or the other."""
    if not target.exists():
        staging.rename(target)
        sync_folder(target.parent)
        return None
    aside = target.with_name(f"{target.name}.{_stamped()}") if any(target.iterdir()) else None
    libc = ctypes.CDLL(None, use_errno=True)
    source, place = os.fsencode(staging), os.fsencode(target)
    if libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, place, _EXCHANGE):
        number = ctypes.get_errno()
        raise Refused(f"{target} and the restored folder could not change places ({os.strerror(number)}).")
    if aside is not None:
        staging.rename(aside)
    sync_folder(target.parent)
    return aside


def _moved_in(staging: Path, target: Path) -> Path | None:
    """A mounted folder (a volume of a container) cannot be renamed, so its content moves, entry by entry.

    While the mark is there nothing starts; `nemo restore --replace` again ends it.
    """
    (target / up.RESTORING).touch()
    sync_folder(target)
    old = [each for each in target.iterdir() if not each.name.startswith(OURS) and each.name != up.RESTORING]
    aside = target / _stamped() if old else None
    if aside is not None:
        aside.mkdir(mode=0o700)
        _each_into(old, aside.joinpath)
    _each_into(list(staging.iterdir()), target.joinpath)
    (target / up.RESTORING).unlink()
    sync_folder(target)
    return aside


def _each_into(entries: list[Path], place: Callable[[str], Path]) -> None:
    """Where a folder is a volume of its own, as in containers, what is in it moves."""
    for entry in entries:
        to = place(entry.name)
        try:
            entry.rename(to)
            continue
        except OSError as error:  # a volume on the same disk can be told from a folder by this alone
            if error.errno not in (errno.EBUSY, errno.EXDEV) or not entry.is_dir():
                raise
        to.mkdir(mode=0o700, exist_ok=True)
        for each in list(entry.iterdir()):
            shutil.move(each, to / each.name)


def _stamped() -> str:
    return f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def differing_secrets(settings: ServiceSettings, target: Path) -> list[str]:
    """Secrets that the services would be given from elsewhere, and that are not those of the backup."""
    restored, found = target / "secrets", []
    for name in keys.NAMES:
        elsewhere = keys.given(name) or settings.secrets_folder.resolve() != restored.resolve()
        if not elsewhere or not (restored / name).is_file():
            continue
        try:
            same = keys.value(settings.secrets_folder, name) == (restored / name).read_text(encoding="utf-8").strip()
        except OSError:
            same = False
        if not same:
            found.append(name)
    return found
