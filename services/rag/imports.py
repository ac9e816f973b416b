"""A vault that comes back: all of it is checked before any of it is taken.

The archive waits encrypted on the disk and is read where it lies. What its headers claim is not believed: sizes are
counted while they unpack, against the manifest and a bound, and a checksum that differs refuses the whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, Any

from pydantic import ValidationError

from services.rag.parts import PARTS, Part
from services.rag.vaults import Vault
from shared.errors import ImportRefused
from shared.schemas.ownership import FORMAT, VERSION, Imported, Manifest, Member
from shared.storage.sqlcipher import transaction

MOST_MEMBERS = 200_000
MOST_CONTENTS_BYTES = 24 * 1024**2
"""Of the zip's table of contents: some 100 bytes a file."""
MOST_MANIFEST_BYTES = 64 * 1024**2
MOST_RECORD_BYTES = 64 * 1024**2
BATCH = 50
_PIECE = 256 * 1024
_ID = "[0-9A-HJKMNP-TV-Z]{26}"
_NAMES = re.compile(
    "|".join(
        (
            *(
                f"{part.name}/[a-z]{{3}}_{_ID}(?:\\.\\d{{1,9}})?\\.json" if part.own_files else f"{part.name}\\.jsonl"
                for part in PARTS
            ),
            f"documents/doc_{_ID}",
            f"audio/rec_{_ID}",
        )
    )
)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, OverflowError)


class Archive:
    """An export that passed every check. Make it, and use it, in a thread: reading blocks."""

    def __init__(self, file: IO[bytes], most_bytes: int) -> None:
        """`most_bytes`: that it may unpack to. Raises ImportRefused."""
        try:
            self._zip = zipfile.ZipFile(file)
            self.manifest = self._manifest()
            self._check_names()
            self._check_contents(most_bytes)
        except _DAMAGE as error:
            raise ImportRefused("The file is no zip archive, or it is cut off or damaged.") from error

    def _manifest(self) -> Manifest:
        names = self._zip.namelist()
        if len(names) > MOST_MEMBERS or len(set(names)) != len(names) or "manifest.json" not in names:
            raise ImportRefused("The archive has no manifest.json, too many files, or one of them twice.")
        with self._zip.open("manifest.json") as member:
            raw = member.read(MOST_MANIFEST_BYTES + 1)
        try:
            told = json.loads(raw[:MOST_MANIFEST_BYTES])
            if told["format"] != FORMAT or told["version"] != VERSION:
                raise ImportRefused(f"The archive is not {FORMAT} version {VERSION}, the one that can be read here.")
            return Manifest.model_validate(told)
        except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
            raise ImportRefused("The archive's manifest.json makes no sense.") from error

    def _check_names(self) -> None:
        listed = {member.name for member in self.manifest.members}
        if listed != set(self._zip.namelist()) - {"manifest.json"} or len(listed) != len(self.manifest.members):
            raise ImportRefused("The files in the archive are not those that its manifest lists.")
        if strange := next((name for name in listed if not _NAMES.fullmatch(name)), None):
            raise ImportRefused(f"The archive holds {strange[:80]!r}, which no export does.")

    def _check_contents(self, most_bytes: int) -> None:
        if sum(member.size_bytes for member in self.manifest.members) > most_bytes:
            raise ImportRefused(f"The archive unpacks to more than the limit of {most_bytes} bytes.")
        for member in self.manifest.members:
            self._check_sum(member)
        for part in PARTS:
            for _ in self.records(part):
                pass

    def _check_sum(self, member: Member) -> None:
        digest, size = hashlib.sha256(), 0
        with self._zip.open(member.name) as file:
            while piece := file.read(_PIECE):
                size += len(piece)
                digest.update(piece)
                if size > member.size_bytes:
                    break
        if size != member.size_bytes or digest.hexdigest() != member.sha256:
            raise ImportRefused(f"{member.name} is not what the manifest says; the archive was changed or damaged.")

    def records(self, part: Part) -> Iterator[Any]:
        """What `part.write` takes. Raises ImportRefused naming the file with a record that makes no sense."""
        for member in self.manifest.members:
            if member.name == f"{part.name}.jsonl" or (part.own_files and member.name.startswith(f"{part.name}/")):
                with self._zip.open(member.name) as file:
                    while line := file.readline(MOST_RECORD_BYTES):
                        yield _checked(part, member.name, line)

    def files(self, folder: str) -> dict[str, str]:
        """Ids and names of the originals of one kind."""
        names = (member.name for member in self.manifest.members if member.name.startswith(f"{folder}/"))
        return {name.partition("/")[2]: name for name in names}

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(name)


def _checked(part: Part, name: str, line: bytes) -> Any:
    try:
        key, record = part.check(json.loads(line, parse_int=_whole, parse_constant=_no_number))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ImportRefused(f"A record in {name} makes no sense.") from error
    if part.own_files and name != f"{part.name}/{key}.json":
        raise ImportRefused(f"The record in {name} has another id.")
    return record


def _whole(digits: str) -> int:
    """Numbers beyond what the database and other programs can hold are none of ours."""
    if len(digits) > 16:
        raise ValueError("a number too large")
    return int(digits)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def merge(vault: Vault, part: Part, records: list[Any]) -> Imported:
    """One batch, all or nothing; what is here stays as it is."""
    found = Imported()
    with transaction(vault.db):
        for record in records:
            outcome = part.write(vault, record)
            setattr(found, outcome, getattr(found, outcome) + 1)
    vault.forget_index()
    return found


def batches(archive: Archive, part: Part) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for record in archive.records(part):
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class SealedFile(io.RawIOBase):
    """An encrypted file as one that can be read anywhere, for a thread beside the loop that does the reading."""

    def __init__(
        self, read: Callable[[int, int], AsyncIterator[bytes]], size: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._read, self._size, self._loop, self._at = read, size, loop, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        data = asyncio.run_coroutine_threadsafe(_gathered(self._read(self._at, end)), self._loop).result()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Bounded(io.BufferedReader):
    """`zipfile` reads a table of contents as long as the file claims in one piece; here it may not be any length."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_CONTENTS_BYTES:
            raise OSError("more than is read at once")
        return super().read(MOST_CONTENTS_BYTES if size is None or size < 0 else size)


async def _gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def sum_of(found: list[Imported]) -> Imported:
    return Imported(**{name: sum(getattr(each, name) for each in found) for name in Imported.model_fields})
