"""A restore for practice: into a folder that goes away, with everything opened that no user has sealed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from services.cli.backup import Refused, archive, restore, vaults
from shared.storage import backup_records as records


def verify(data_dir: Path, path: Path, private: bytes) -> archive.Unpacked:
    """Every byte read and compared, nothing unpacked. Raises Refused."""
    found = archive.unpack(path, private, lambda member: None)
    if data_dir.is_dir():
        records.write(data_dir, "verified", archive=str(path), made_at=found.about["created_at"], counts=found.counts)
    return found


async def run(data_dir: Path, scratch: Path, path: Path, private: bytes) -> vaults.Seen:
    """`scratch`: where the folder lies. Raises Refused where anything does not come back."""
    with TemporaryDirectory(prefix=".drill-", dir=scratch) as folder:
        staging = Path(folder)
        found = restore.unpack(path, private, staging)
        async with restore.filled(None, staging, found) as url:
            seen = await vaults.look(url, staging, staging / "secrets", whole=True)
    if found.counts.get("vaults", 0) > seen.vaults + seen.sealed:
        raise Refused(f"{found.counts['vaults']} vaults were packed, and {seen.vaults + seen.sealed} have keys.")
    records.write(
        data_dir, "drilled", archive=str(path), made_at=found.about["created_at"], vaults=seen.vaults,
        sealed=seen.sealed, recordings=seen.recordings, rows=dict(seen.rows),
    )  # fmt: skip
    return seen
