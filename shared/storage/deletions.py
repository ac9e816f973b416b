"""What users have deleted, by kind and id, one small file a user: what a restored backup must not bring back.

Ids are ours and say nothing. A line is written after the deletion was done, so a crash in between forgets it; nothing
that was not deleted is ever named. `nemo restore` writes the lines that are to be done again into `<user>.again`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

from shared.storage.blobs import sync_folder

log = logging.getLogger(__name__)
Kind = Literal["memory", "transcript", "conversation", "document", "speaker", "vault", "account"]
AGAIN = ".again"
_LINE = re.compile(r"(?:memory|transcript|conversation|document|speaker|vault|account) [A-Za-z0-9_-]{1,128}")


class Deletions:
    """Of all users, in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def record(self, user_id: str, kind: Kind, key: str) -> None:
        """On the disk when it returns. A full disk does not stop a deletion: the log says what was not written."""
        try:
            await asyncio.to_thread(append, self._root / user_id, [f"{kind} {key}"])
        except OSError as error:
            log.warning("a deletion was not written down; an older backup would bring it back", extra={"id": key})
            log.debug("the reason", extra={"kind": type(error).__name__})

    def to_do(self) -> list[str]:
        """Users with deletions that are to be done again."""
        return sorted(path.name.removesuffix(AGAIN) for path in self._root.glob(f"*{AGAIN}"))

    def again(self, user_id: str) -> list[tuple[str, str]]:
        """(kind, id) of what is to be deleted once more."""
        return [(kind, key) for kind, _, key in (line.partition(" ") for line in lines(self._again(user_id)))]

    def done(self, user_id: str) -> None:
        self._again(user_id).unlink(missing_ok=True)

    def _again(self, user_id: str) -> Path:
        return self._root / f"{user_id}{AGAIN}"


def append(path: Path, new: list[str]) -> None:
    """Blocking. In one write, so that two services never mix their lines."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, "".join(f"{line}\n" for line in new).encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if made:
        sync_folder(path.parent)


def lines(path: Path) -> list[str]:
    """Whole ones only; what a crash has torn is left out."""
    with suppress(FileNotFoundError):
        return [
            line for line in path.read_text(encoding="ascii", errors="replace").split("\n") if _LINE.fullmatch(line)
        ]
    return []
