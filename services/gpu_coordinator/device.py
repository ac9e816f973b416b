"""The devices of this machine: for now the host itself, on which everything fits and nothing swaps."""

from __future__ import annotations

import socket
from pathlib import Path

from shared.schemas.coordinator import DeviceStatus
from shared.storage.postgres import Pool, in_our_words


def host_device() -> DeviceStatus:
    """The host's memory as `/proc/meminfo` tells it, in bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return DeviceStatus(
        device_id=f"{socket.gethostname()}/cpu",
        kind="cpu",
        memory_total_bytes=int(fields["MemTotal"].split()[0]) * 1024,
        memory_free_bytes=int(fields["MemAvailable"].split()[0]) * 1024,
    )


async def register(pool: Pool, device: DeviceStatus) -> None:
    with in_our_words():
        await pool.execute(
            "INSERT INTO device (device_id, kind, memory_total_bytes) VALUES ($1, $2, $3) ON CONFLICT (device_id)"
            " DO UPDATE SET memory_total_bytes = excluded.memory_total_bytes, seen_at = now()",
            device.device_id,
            device.kind,
            device.memory_total_bytes,
        )
