"""What an operator looks after: secrets, weights, backups, the parts that are built."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from services.cli import keys, language_runtime, look, rotate, weights
from services.cli.backup import key
from services.cli.doctor import Finding
from services.cli.up import RESTORING
from shared.settings import ServiceSettings
from shared.storage import backup_records as records

STALE_DAYS = 7
DRILL_DAYS = 90


def findings(settings: ServiceSettings) -> Iterator[Finding]:
    yield from secrets(settings)
    yield from backups(settings)
    yield from _weights(settings)
    yield from _built(settings)


def secrets(settings: ServiceSettings) -> Iterator[Finding]:
    folder = settings.secrets_folder
    if not folder.exists():  # the first start makes them
        return
    why = "The platform does not start with it."
    for error in keys.faults(folder):
        do = "Where the text names no command: put the file back from your backup."
        yield Finding("secret_unfit", str(error), why, do, "missing-or-unfit-secrets")
    unfinished = {"rag_db_key_previous": "rekey", rotate.NEXT: "rotate postgres"}
    for name, command in unfinished.items():
        if (folder / name).exists():
            what = f"`nemo {command}` was not finished: {folder / name} is still there."
            why = "Either the old secret is still in use, or the platform does not start with it."
            do = f"`nemo down`, then `nemo {command}` again."
            yield Finding("rotation_unfinished", what, why, do, "rotate-secrets")


def backups(settings: ServiceSettings) -> Iterator[Finding]:
    """A restore that was interrupted in any case; the rest once the operator has begun with backups."""
    if (settings.data_dir / RESTORING).exists():
        yield Finding(
            "restore_interrupted",
            "A restore was interrupted.",
            "The data folder is half of one state and half of another, so the platform does not start.",
            "Run `nemo restore ARCHIVE --replace` again.",
            "restore",
        )
    if not key.made(settings.secrets_folder):
        if (settings.data_dir / "users.db").exists():
            what, why = "No backups are made.", "What is stored here is lost with this disk."
            do = "Run `nemo backup --init` once, then `nemo backup` on a schedule."
            yield Finding("no_backups", what, why, do, "backup", grave=False)
        return
    known = records.read(settings.data_dir)
    yield from _last_backup(known)


def _last_backup(known: dict[str, dict[str, str]]) -> Iterator[Finding]:
    made, drilled = known.get("made"), known.get("drilled")
    why = "What came since the last backup is lost with this disk."
    if made is None:
        what = "There is a recovery code and no backup yet."
        yield Finding("no_backup", what, why, "Run `nemo backup`.", "backup")
        return
    if records.age(made).days >= STALE_DAYS:
        what = f"The last backup is {records.age(made).days} days old."
        yield Finding("backup_old", what, why, "Does your schedule still call `nemo backup`?", "backup")
    if drilled is None or records.age(drilled).days >= DRILL_DAYS:
        since = "never" if drilled is None else f"{records.age(drilled).days} days ago"
        what = f"A restore was last tried for practice: {since}."
        why = "A backup that was never restored is a hope."
        yield Finding("drill_old", what, why, "Run `nemo backup --drill`.", "backup", grave=False)


def _weights(settings: ServiceSettings) -> Iterator[Finding]:
    seen = weights.Seen(settings.models_dir)
    why = "The platform does not start with weights that are not the manifest's."
    for each in weights.manifest(settings.models_dir):
        wanted = each.embedded or all((settings.models_dir / each.name / file.path).is_file() for file in each.files)
        for text in weights.problems(each, settings.models_dir, seen) if wanted else ():
            yield Finding("weights_wrong", f"{text}.", why, f"Run `nemo models pull {each.name}`.", "models")


def _built(settings: ServiceSettings) -> Iterator[Finding]:
    chat = "Chat stays with quotations."
    if not language_runtime.installed() and not language_runtime.cached_wheel() and not shutil.which("c++"):
        do = "Install one (Debian: `apt-get install g++`); the next `nemo up` goes on."
        yield Finding("no_compiler", "There is no C++ compiler.", chat, do, "language-model", grave=False)
    state = look.language_state(settings.data_dir)
    if state.startswith("failed"):
        what = f"Building the language runtime {state}."
        yield Finding("runtime_failed", what, chat, "The next `nemo up` tries again.", "language-model")
    static = Path(__file__).resolve().parents[2] / "api_gateway" / "static" / "index.html"
    if not static.is_file():
        what, why = "The web page is not built.", "The API works; the page answers 404."
        yield Finding("no_page", what, why, "Run `make web`.", "start")
