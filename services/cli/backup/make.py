"""`nemo backup`: all that is stored, into one encrypted file, while the platform runs or not.

The order makes it consistent. PostgreSQL is one snapshot; what it refers to (vaults, recordings, documents) was written
before the rows that name it and is copied after, so it is there, or its user has deleted it meanwhile. Two kinds of
file move the other way, out of the way once their content is elsewhere: boxes go before the vault that they empty into,
and journals of live recordings before the snapshot.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from services.cli import keys
from services.cli.backup import Refused, archive, database, key, schemas
from services.cli.backup.progress import Progress
from shared.service import platform_version
from shared.settings import ServiceSettings
from shared.storage import backup_records as records
from shared.storage import deletions, sqlite_copy
from shared.storage.blobs import sync_folder

OURS = re.compile(r"nemo-\d{8}T\d{6}Z\.nemo")
SPARE_BYTES = 64 * 1024**2
JOURNAL = ".journal"
GIVEN = (*keys.NAMES, "jwt_secret_previous", "rag_db_key_previous")


@dataclass(frozen=True)
class Made:
    """A finished archive."""

    path: Path
    bytes: int
    seconds: float
    counts: dict[str, int]


async def run(settings: ServiceSettings, to: Path, keep: int | None) -> Made:
    """Raises Refused, and has left nothing behind then."""
    data_dir = settings.data_dir.resolve()
    public = key.public(settings.secrets_folder)
    if not data_dir.is_dir():
        raise Refused(f"There is no data in {data_dir}. Is DATA_DIR right?")
    with _folder(to), _told_when_full(to):
        async with database.reached(settings) as url:
            made = await _Backup(settings, data_dir, to).run(url, public)
    records.write(data_dir, "made", archive=str(made.path), bytes=made.bytes, seconds=round(made.seconds, 1))
    if keep is not None:
        _retire(to, keep, made.path)
    return made


@contextmanager
def _folder(to: Path) -> Iterator[None]:
    """One backup at a time into a folder; what a killed one has left goes."""
    try:
        to.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(to / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"The folder {to} cannot be written ({error.strerror}). Name another one with --to.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"Another backup into {to} is running. Wait until it is done.") from None
        _sweep(to)
        yield
    finally:
        _sweep(to)
        os.close(lock)


def _sweep(to: Path) -> None:
    for left in to.glob(".nemo-*"):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


@contextmanager
def _told_when_full(to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused(
            f"The disk below {to} is full; the unfinished archive was removed. Free some space, keep fewer archives "
            "(--keep), or name another folder with --to."
        ) from error


def _free_name(to: Path) -> Path:
    """By the second; no archive is written over."""
    while True:
        path = to / f"nemo-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{archive.SUFFIX}"
        if not path.exists():
            return path
        time.sleep(0.1)


def _retire(to: Path, keep: int, newest: Path) -> None:
    """Names sort by time. The one just made stays whatever was asked."""
    found = sorted(each for each in to.iterdir() if OURS.fullmatch(each.name) and each != newest)
    for old in found[: max(0, len(found) + 1 - max(keep, 1))]:
        old.unlink()


class _Backup:
    """One run."""

    def __init__(self, settings: ServiceSettings, data_dir: Path, to: Path) -> None:
        self._settings, self._data, self._to = settings, data_dir, to
        self._counts: Counter[str] = Counter()

    async def run(self, url: str, public: bytes) -> Made:
        self._require_space()
        with TemporaryDirectory(prefix=".nemo-", dir=self._to) as staging:
            self._staging = Path(staging)
            self._deleted = {path.name: len(deletions.lines(path)) for path in (self._data / "deletions").glob("usr_*")}
            journals = self._early_journals()
            dump = await database.dump(url, self._staging)
            return self._write(dump, public, journals)

    def _require_space(self) -> None:
        sizes = [_size(each) for each in self._files()]
        postgres = sum(_size(each) for each in (self._data / "postgres" / "base").rglob("*"))
        self._total = sum(sizes)
        need = self._total + 2 * postgres + max(sizes, default=0) + SPARE_BYTES
        free = shutil.disk_usage(self._to).free
        if need > free:
            raise Refused(
                f"A backup may need {need / 1e6:.0f} MB below {self._to}, and {free / 1e6:.0f} MB are free. Free some "
                "space, or name another folder with --to."
            )

    def _files(self) -> list[Path]:
        """What is backed up, as far as it lies in files of the data folder."""
        found = [self._data / "users.db", *(self._data / "vaults").glob("*.db")]
        for name in ("vaults/*.outbox/*", "documents/*/*", "blobs/*/*"):
            found += self._data.glob(name)
        return found

    def _early_journals(self) -> dict[str, Path]:
        """A live recording may end before its journal's turn comes, and the snapshot would still call it live."""
        found = {}
        for number, path in enumerate(sorted(self._data.glob(f"blobs/*/*{JOURNAL}"))):
            with suppress(FileNotFoundError):
                name = str(path.relative_to(self._data))
                found[name] = Path(shutil.copyfile(path, self._staging / f"journal.{number}"))
        return found

    def _write(self, dump: database.Dump, public: bytes, journals: dict[str, Path]) -> Made:
        path = _free_name(self._to)
        part = path.with_name(f".{path.name}.part")
        about = {
            "version": platform_version(), "created_at": records.now(), "bytes": self._total, "database": dump.about,
            "schemas": schemas.known() | dump.schemas, "deletions": self._deleted,
        }  # fmt: skip
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", 1 << 20) as file:
            with archive.packing(file, public, about) as packer:
                self._packer, self._progress = packer, Progress("backing up", self._total)
                self._members(dump, journals)
                packer.finish(dict(self._counts))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_folder(self._to)
        return Made(path, path.stat().st_size, self._progress.end(), dict(self._counts))

    def _members(self, dump: database.Dump, journals: dict[str, Path]) -> None:
        for table, (file, rows) in dump.tables.items():
            with file:
                self._packer.add(f"postgres/{table}.copy", file, os.fstat(file.fileno()).st_size)
            self._counts["rows"] += rows
        self._database(self._data / "users.db", "users.db", "accounts")
        for owner in sorted(dump.owners):
            for box in sorted((self._data / "vaults" / f"{owner}.outbox").glob("[!.]*")):
                self._file(box, "boxes")
            self._database(self._data / "vaults" / f"{owner}.db", f"vaults/{owner}.db", "vaults")
        for owner in sorted(dump.owners):
            for path in sorted((self._data / "documents" / owner).glob("[!.]*")):
                self._file(path, "documents")
            self._recordings(owner, journals)
        self._secrets()
        for path in sorted((self._data / "deletions").glob("usr_*")):  # last: also those made while we were at it
            self._file(path, "lists of deletions")

    def _recordings(self, owner: str, journals: dict[str, Path]) -> None:
        folder = self._data / "blobs" / owner
        early = {name: path for name, path in journals.items() if name.startswith(f"blobs/{owner}/")}
        now = {f"blobs/{owner}/{path.name}": path for path in folder.glob(f"[!.]*{JOURNAL}")}
        for name, path in sorted((early | now).items()):
            try:  # they may be cut at their end while we read, so it is a copy that goes in
                shutil.copyfile(path, self._staging / "journal")
                path = self._staging / "journal"
            except FileNotFoundError:
                path = early.get(name, path)
            self._file(path, "live recordings", name)
        for path in sorted(folder.glob("[!.]*")):
            if path.suffix != JOURNAL:
                self._file(path, "recordings")

    def _database(self, path: Path, name: str, what: str) -> None:
        target = self._staging / "database"
        try:
            made = sqlite_copy.copy(path, target)
        except FileNotFoundError:
            return
        for each in made:
            self._packer.add_file(name + each.name.removeprefix("database"), each)
            each.unlink()
        self._counts[what] += 1
        self._progress.add(_size(path))

    def _file(self, path: Path, what: str, name: str | None = None) -> None:
        try:
            self._packer.add_file(name or str(path.relative_to(self._data)), path)
        except FileNotFoundError:  # deleted by its user meanwhile
            self._counts["deleted meanwhile"] += 1
            return
        self._counts[what] += 1
        self._progress.add(_size(path))

    def _secrets(self) -> None:
        """With those of the environment: without them nobody could read what is restored."""
        folder = self._settings.secrets_folder
        found = {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*")) if path.is_file()}
        found |= {name: keys.value(folder, name).encode() for name in GIVEN if keys.given(name)}
        for path in sorted((folder / "service_keys").glob("[!.]*")):
            found[f"service_keys/{path.name}"] = path.read_bytes()
        for name, data in found.items():
            self._packer.add_bytes(f"secrets/{name}", data)
            self._counts["secrets"] += 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
