"""Disk, ports, and what a platform that was killed left behind."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services.cli import up
from services.cli.doctor import Finding
from shared.settings import SERVICE_PORTS, ServiceSettings

LEAST_INODES = 10_000
STORED = ("users.db", "vaults", "blobs", "spool", "documents", "postgres", "valkey", "logs")


def findings(settings: ServiceSettings) -> Iterator[Finding]:
    data_dir = settings.data_dir.absolute()
    parent = next(each for each in (data_dir, *data_dir.parents) if each.exists())
    yield from _room(parent)
    yield from _writable(parent)
    yield from _private(data_dir)
    running = up.running_pid(data_dir) is not None
    if not running:
        yield from _ports()
        yield from _left_behind(data_dir)


def _room(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    why = "Uploads and memories are refused with 507, and the platform does not start, until there is room."
    if free < up.LEAST_DISK_BYTES:
        what = f"Less than 1 GiB is free below {folder}: {free / 1e6:.0f} MB."
        yield Finding("disk_full", what, why, "Free some space, or set DATA_DIR to another disk.", "disk-full")
    inodes = os.statvfs(folder)
    if inodes.f_files and inodes.f_favail < LEAST_INODES:  # some file systems count none
        what = f"Only {inodes.f_favail} more files can be made below {folder}, whatever the free bytes."
        yield Finding("no_inodes", what, why, "Remove many small files, or set DATA_DIR to another disk.", "disk-full")


def _writable(folder: Path) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        number = error.errno
    why = "Nothing can be stored, so the platform does not start."
    if number == errno.EROFS:
        what = f"The disk of {folder} is mounted read-only."
        do = "See `dmesg` for a disk that fails; mount it again for writing, or set DATA_DIR."
        yield Finding("disk_read_only", what, why, do, "read-only-disk")
    elif number not in (errno.ENOSPC, errno.EDQUOT):  # those were told as a full disk
        what = f"{folder} cannot be written by this user ({os.strerror(number or 0)})."
        yield Finding("not_writable", what, why, "Change its owner, or set DATA_DIR.", "wrong-permissions")
    elif shutil.disk_usage(folder).free >= up.LEAST_DISK_BYTES:
        what = f"This user may not use more of the disk of {folder} (quota)."
        yield Finding("disk_full", what, why, "Free some space, or have the quota raised.", "disk-full")


def _private(data_dir: Path) -> Iterator[Finding]:
    if not data_dir.is_dir():
        return
    if data_dir.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"{data_dir} can be written by other users."
        why = "They could exchange its databases and secrets for their own."
        yield Finding("data_open", what, why, f"chmod 700 '{data_dir}'", "wrong-permissions")
    for path in (data_dir / name for name in STORED):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            what = f"{path} cannot be read and written by this user."
            why = "The service it belongs to does not start."
            do = f"As its owner or root: chown -R {os.geteuid()} '{data_dir}'"
            yield Finding("not_writable", what, why, do, "wrong-permissions")


def _ports() -> Iterator[Finding]:
    for name, port in SERVICE_PORTS.items():
        if up.taken("127.0.0.1", port):
            what = f"Port {port} ({name}) is in use by another program{up.holder_of(port)}."
            do = "Stop it, or use `nemo up --port 9000`, which shifts all ports."
            yield Finding("port_taken", what, "The platform does not start on its usual ports.", do, "ports")


def _left_behind(data_dir: Path) -> Iterator[Finding]:
    pid_file = data_dir / up.PID_FILE
    if pid_file.is_file() and pid_file.read_text(encoding="utf-8").strip():
        what = f"{pid_file} is left of a platform that was killed."
        why = "Nothing: only a lock that is held counts, and the next start writes the file anew."
        yield Finding("stale_pid", what, why, "Start it again: `nemo up`.", "start", grave=False)
    pid = _orphan(data_dir / "postgres")
    if pid is not None:
        what = f"A PostgreSQL without its platform still runs on {data_dir / 'postgres'} (process {pid})."
        why = "The next start cannot open the database while it does."
        yield Finding("orphan_postgres", what, why, f"kill -INT {pid}", "start")


def _orphan(folder: Path) -> str | None:
    try:
        pid = (folder / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0].strip()
        command = Path(f"/proc/{int(pid)}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(folder.resolve()).encode() in command else None
