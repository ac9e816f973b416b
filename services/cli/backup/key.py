"""The key of backups: a public half on the machine, a recovery code on paper.

The machine can write archives and not read them, so a backup may run unattended and whoever steals the machine's
secrets cannot open the archives that lie elsewhere. The private half is derived from the code and is nowhere stored.
"""

from __future__ import annotations

import os
import sys
from getpass import getpass
from pathlib import Path

from services.cli.backup import NoKey, Refused
from shared.crypto import passphrase, sealed_stream
from shared.storage.blobs import sync_folder

NAME = "backup_public_key"
_PURPOSE = "nemo backup key v1"


def init(secrets: Path, key_file: Path | None) -> str:
    """A new code; its public half is kept. Raises Refused where there is one already."""
    if made(secrets):
        raise Refused(
            f"There is a backup key already: {secrets / NAME}. Archives made so far need its recovery code. To begin "
            "with another code, move that file away and run this again."
        )
    secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    code = passphrase.new_code()
    if key_file is not None:
        _write(key_file, code)
    (secrets / NAME).unlink(missing_ok=True)  # an empty one, as containers need it
    _write(secrets / NAME, sealed_stream.public_of(private_of(code)).hex())
    return code


def made(secrets: Path) -> bool:
    path = secrets / NAME
    return path.exists() and path.stat().st_size > 0


def public(secrets: Path) -> bytes:
    """Raises NoKey, Refused."""
    if not made(secrets):
        raise NoKey("There is no backup key yet. Run `nemo backup --init` and write down what it shows.")
    try:
        found = bytes.fromhex((secrets / NAME).read_text(encoding="ascii").strip())
    except ValueError as error:
        raise Refused(f"{secrets / NAME} is damaged. Move it away and run `nemo backup --init`.") from error
    if len(found) != 32:
        raise Refused(f"{secrets / NAME} is damaged. Move it away and run `nemo backup --init`.")
    return found


def private_of(code: str) -> bytes:
    return passphrase.key_of_code(code, _PURPOSE)


def private(key_file: Path | None) -> bytes:
    """From the key file, or asked for: at the terminal unseen, from a pipe its first line. Raises Refused."""
    if key_file is not None:
        try:
            code = key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"The key file {key_file} cannot be read.") from error
    elif sys.stdin.isatty():
        code = getpass("Recovery code of the backups: ")
    else:
        code = sys.stdin.readline()
    if sum(each.isalnum() for each in code) != passphrase.CODE_BYTES * 8 // 5:
        raise Refused("That is no recovery code: it has eight groups of four letters and digits.")
    return private_of(code)


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{path} cannot be made ({error.strerror}). Name a new file in a folder that exists.") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
