"""A whole vault as a zip file, written while it is sent: nothing of it is held in memory or put on the disk.

The manifest comes last, since the checksums are known only then.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial

from services.rag.parts import PARTS, Part
from services.rag.service import Library
from shared.errors import NotFound
from shared.schemas.ownership import FORMAT, VERSION, Manifest, Member

Original = Callable[[str], AsyncIterator[bytes]]
"""The bytes of an id; raises NotFound where there are none."""
BATCH = 20
FILES = {"documents": "documents", "audio": "transcripts"}
"""Folder of originals, and the part whose ids they have."""


class Export:
    """`async for chunk in Export(...).stream()`, once."""

    def __init__(self, library: Library, user_id: str, originals: dict[str, Original]) -> None:
        """`originals`: those of `FILES` that are wanted."""
        self._library, self._user_id, self._originals = library, user_id, originals
        self._out = _Sink()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED)  # type: ignore[call-overload]
        self._members: list[Member] = []
        self._missing: list[str] = []
        self._ids: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._now = datetime.now(UTC)

    async def stream(self) -> AsyncIterator[bytes]:
        for part in PARTS:
            async for piece in self._part(part):
                yield piece
        for folder, source in self._originals.items():
            async for piece in self._files(folder, source):
                yield piece
        self._finish()
        yield self._out.taken()

    async def _part(self, part: Part) -> AsyncIterator[bytes]:
        ids = self._ids[part.name] = []
        if part.own_files:
            async for key, line in self._records(part):
                ids.append(key)
                async for piece in self._member(f"{part.name}/{key}.json", _one(line)):
                    yield piece
        else:
            async for piece in self._member(f"{part.name}.jsonl", self._lines(part, ids)):
                yield piece
        self._counts[part.name] = len(ids)

    async def _lines(self, part: Part, ids: list[str]) -> AsyncIterator[bytes]:
        async for key, line in self._records(part):
            ids.append(key)
            yield line

    async def _records(self, part: Part) -> AsyncIterator[tuple[str, bytes]]:
        """Ids and lines of JSON; the vault is free between two batches."""
        after: str | None = ""
        while after is not None:
            found, after = await self._library.run(self._user_id, partial(part.read, after=after, limit=BATCH))
            for key, record in found:
                yield key, json.dumps(record, ensure_ascii=False).encode() + b"\n"

    async def _files(self, folder: str, source: Original) -> AsyncIterator[bytes]:
        count = 0
        for key in self._ids[FILES[folder]]:
            chunks, name = source(key), f"{folder}/{key}"
            try:
                first = await anext(chunks, b"")
            except NotFound:
                self._missing.append(name)
                continue
            count += 1
            async for piece in self._member(name, _after(first, chunks)):
                yield piece
        self._counts[f"{folder}_files"] = count

    async def _member(self, name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        digest, size = hashlib.sha256(), 0
        with self._zip.open(self._info(name), "w", force_zip64=True) as member:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                member.write(chunk)
                if self._out.size > _PIECE:
                    yield self._out.taken()
        self._members.append(Member(name=name, size_bytes=size, sha256=digest.hexdigest()))
        yield self._out.taken()

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self._now.timetuple()[:6])
        # Sound and documents are packed already.
        info.compress_type = zipfile.ZIP_STORED if name.startswith("audio/") else zipfile.ZIP_DEFLATED
        return info

    def _finish(self) -> None:
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            created_at=self._now,
            counts=self._counts,
            missing=self._missing,
            members=self._members,
        )
        self._zip.writestr(self._info("manifest.json"), manifest.model_dump_json(indent=1))
        self._zip.close()


_PIECE = 64 * 1024


class _Sink:
    """Where the zip is written to: a stream that cannot go back, so sizes follow each member."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        found = b"".join(self._parts)
        self._parts, self.size = [], 0
        return found


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
