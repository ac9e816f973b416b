"""What is known of backups on this machine: when the last one was made, verified and restored for practice."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.storage.blobs import sync_folder

FILE = "backups.json"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def age(record: dict[str, Any]) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(record["at"])


def read(data_dir: Path) -> dict[str, Any]:
    """By `made`, `verified` and `drilled`, each with `at` and the name of the archive; empty where nothing is known."""
    try:
        found = json.loads((data_dir / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(data_dir: Path, what: str, **facts: Any) -> None:
    part = data_dir / f".{FILE}.{os.getpid()}.part"
    try:
        part.write_text(json.dumps(read(data_dir) | {what: {"at": now(), **facts}}, indent=1), encoding="utf-8")
        part.chmod(0o600)
        part.replace(data_dir / FILE)
        sync_folder(data_dir)
    finally:
        part.unlink(missing_ok=True)
