"""The archive: a tar file inside a sealed stream, with what it is at its beginning and what it held at its end.

`about.json` comes first, so that a wrong version is refused before anything is unpacked; `manifest.json` comes last,
because only then are size and SHA-256 of every other member known.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from services.cli.backup import Refused
from shared.crypto.envelope import WrongKey
from shared.crypto.sealed_stream import FRAME_BYTES, NoStream, OtherKey, Reader, Writer

FORMAT = 1
SUFFIX = ".nemo"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}")


class _Counted:
    """Reads on behalf of tar and remembers what went through."""

    def __init__(self, file: Any) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.digest.update(data)
        return data


class Packer:
    """Members go in one after another. Made by `packing`."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: list[dict[str, Any]] = []
        self.bytes = 0

    def add(self, name: str, file: BinaryIO, size: int) -> None:
        """The first `size` bytes of what `file` gives."""
        info = tarfile.TarInfo(name)
        info.size = size
        counted = _Counted(file)
        self._tar.addfile(info, cast("Any", counted))
        self.members.append({"name": name, "bytes": size, "sha256": counted.digest.hexdigest()})
        self.bytes += size

    def add_bytes(self, name: str, data: bytes) -> None:
        self.add(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, path: Path) -> None:
        """As long as it was when it was opened. Raises FileNotFoundError."""
        with path.open("rb") as file:
            self.add(name, file, os.fstat(file.fileno()).st_size)

    def finish(self, counts: dict[str, Any]) -> None:
        manifest = {"format": FORMAT, "counts": counts, "members": self.members}
        self.add_bytes("manifest.json", json.dumps(manifest).encode())


@contextmanager
def packing(file: BinaryIO, public: bytes, about: dict[str, Any]) -> Iterator[Packer]:
    stream = Writer(file, public)
    with tarfile.open(fileobj=cast("Any", stream), mode="w|", format=tarfile.PAX_FORMAT, bufsize=FRAME_BYTES) as tar:
        packer = Packer(tar)
        packer.add_bytes("about.json", json.dumps({"format": FORMAT, **about}).encode())
        yield packer
    stream.finish()


class Member:
    """One file of an archive that is being read."""

    def __init__(self, name: str, size: int, file: Any) -> None:
        self.name, self.bytes = name, size
        self._counted = _Counted(file)

    def save(self, path: Path) -> None:
        """Not on the disk yet: thousands of files are flushed together, later."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            while data := self._counted.read(FRAME_BYTES):
                target.write(data)

    def read(self) -> bytes:
        return self._counted.read()

    def seen(self) -> dict[str, Any]:
        """As the manifest has it; reads what nobody has read yet."""
        while self._counted.read(FRAME_BYTES):
            pass
        return {"name": self.name, "bytes": self.bytes, "sha256": self._counted.digest.hexdigest()}


class Unpacked:
    """What an archive says of itself."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.counts: dict[str, Any] = {}
        self.members: list[dict[str, Any]] = []


def unpack(path: Path, private: bytes, each: Any, accept: Any = None) -> Unpacked:
    """Calls `accept(about)` first, `each(member)` for every file, and compares all with the manifest at the end.

    Raises Refused; then what `each` has saved is not to be used.
    """
    found = Unpacked()
    try:
        with path.open("rb") as file:
            _read(Reader(file, private), found, each, accept)
    except FileNotFoundError as error:
        raise Refused(f"There is no file {path}. `ls` the folder of your backups for the names.") from error
    except OtherKey as error:
        raise Refused(
            "This archive was made for another recovery code. Look for the code that was shown when the backups that it"
            " belongs to began (`nemo backup --init`)."
        ) from error
    except NoStream as error:
        raise Refused(f"{path.name} is no backup of Nemo Server, or was cut off. Take another archive.") from error
    except (WrongKey, tarfile.TarError, ValueError, KeyError, EOFError) as error:
        raise Refused(
            f"{path.name} is damaged: it was changed or cut off after it was written. Nothing was restored from it; "
            "take another archive."
        ) from error
    return found


def _read(stream: Reader, found: Unpacked, each: Any, accept: Any) -> None:
    manifest: dict[str, Any] | None = None
    with tarfile.open(fileobj=cast("Any", stream), mode="r|", bufsize=FRAME_BYTES) as tar:
        for info in tar:
            member = _member(tar, info)
            if manifest is not None:
                raise ValueError("something follows the manifest")
            if info.name == "manifest.json":
                manifest = json.loads(member.read())
            elif info.name == "about.json":
                found.about = _about(member)
                if accept is not None:
                    accept(found.about)
                found.members.append(member.seen())
            else:
                each(member)
                found.members.append(member.seen())
    while stream.read(FRAME_BYTES):  # to the frame that says it is the last
        pass
    if manifest is None or manifest["members"] != found.members:
        raise ValueError("the manifest names other members")
    found.counts = manifest["counts"]


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    """Only plain files with plain names: whoever has the public key could have written anything."""
    file = tar.extractfile(info) if info.isreg() else None
    if file is None or not _NAME.fullmatch(info.name):
        raise ValueError("a member with a name or a kind that no backup has")
    return Member(info.name, info.size, file)


def _about(member: Member) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(member.read())
    if about["format"] > FORMAT:
        raise Refused("This archive was made by a newer version of Nemo Server. Install that version and restore.")
    return about
