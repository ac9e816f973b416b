"""`nemo backup --every`: one archive after another, beside a platform that runs: the container `backup` of compose."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from services.cli.backup import NoKey, commands
from shared.settings import ServiceSettings
from shared.storage import backup_records as records

LOOK_S = 60.0
"""Seconds between two looks whether one is due, or whether what kept the last from being made is gone."""
SIGN = ".schedule"
"""Touched in the folder of the archives while nothing keeps them from being made: what a health check looks at."""


def run(settings: ServiceSettings, to: Path | None, keep: int | None, every: timedelta) -> int:
    """For ever; SIGTERM ends it, and leaves nothing of an archive that is not finished."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder, said = commands.folder_of(settings, to), ""
    while True:
        said = look(settings, folder, keep, every, said)
        time.sleep(LOOK_S)


def look(settings: ServiceSettings, folder: Path, keep: int | None, every: timedelta, said: str = "") -> str:
    """Makes one if it is due. Returns what kept it from being made, which it tells where it was not `said` before."""
    try:
        if due(settings.data_dir, every):
            asyncio.run(commands.backup(settings, folder, keep))
        _touch(folder)
        return ""
    except (OSError, RuntimeError) as error:
        if isinstance(error, NoKey):  # not begun yet, and nothing that a restart could mend
            _touch(folder)
        if str(error) != said:
            print(f"!!  {error}", flush=True)
        return str(error)


def due(data_dir: Path, every: timedelta) -> bool:
    made = records.read(data_dir).get("made")
    return made is None or records.age(made) >= every


def _touch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / SIGN).touch()
