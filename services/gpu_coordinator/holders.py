"""Holders of devices in PostgreSQL, and their twin in memory.

What a word or a decision does to a row is said once, in `ledger` and `policy`; the stores only compare and set. A row
is written where its version is still the one that was read, and by a leader only while its lease lasts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from services.gpu_coordinator.ledger import Backlog, Change, HolderRow, Limits, Said, View, heard, registered
from services.gpu_coordinator.policy import changed
from shared.errors import Busy, NotFound, StaleInstance
from shared.schemas.gpu import DeviceStatus, Swap
from shared.storage.postgres import Pool, in_our_words

CHANNEL = "nemo_gpu"
BEAT = 0.15
"""Part of a lease within which a heartbeat need not be written again; with the holder's own 0.8 less than all of it."""
SMALL_BYTES = 16 * 1024**2
HOMELESS_S = 60.0
"""How long a holder without a device is spoken of; it asks every few seconds."""
AGAIN = 20
"""Times that a row is read anew because somebody else wrote it in between."""


@dataclass(frozen=True)
class Device:
    """A device as it is when nobody uses it."""

    device_id: str
    kind: str
    memory_total: int
    reserve: int


def _homeless(holder_id: str, kind: str) -> str:
    return (
        f"{holder_id} was set to use a {kind} device and there is none here, so its work waits; set it to cpu, or ask"
        " `nemo doctor` what is missing"
    )


class HolderStore(Protocol):
    """The truth about holders."""

    async def add_device(self, device: Device) -> None: ...
    async def register(self, new: HolderRow) -> HolderRow:
        """Raises NotFound where there is no such device."""
        ...

    async def sync(self, device_id: str, holder_id: str, said: Said) -> tuple[HolderRow, float]:
        """The row to obey, and the moment. Raises StaleInstance."""
        ...

    async def lead(self, device_id: str, who: str, lease_s: float) -> int | None:
        """The epoch of our leadership; None while another leads."""
        ...

    async def view(self, device_id: str, free_bytes: int | None, age_s: float = 0.0) -> View:
        """With what the device said `age_s` seconds ago."""
        ...

    async def apply(self, device_id: str, leader_epoch: int, change: Change) -> HolderRow | None:
        """The row after it; None where the row or the leader is not the same any more, and nothing was changed."""
        ...

    async def devices(self) -> list[DeviceStatus]: ...
    async def holders(self) -> list[tuple[HolderRow, float]]: ...
    async def swaps(self, limit: int) -> list[Swap]: ...


_FIELDS = tuple(each.name for each in fields(HolderRow))
_COLUMNS = ", ".join(_FIELDS)
_OWN = tuple(name for name in _FIELDS if name not in ("holder_id", "device_id"))
_NOW = "extract(epoch FROM clock_timestamp())::float8"

_READ = f"SELECT {_COLUMNS}, version, {_NOW} AS now FROM holder WHERE device_id = $1 AND holder_id = $2"  # noqa: S608

_WRITE = """
WITH written AS (
    UPDATE holder SET SETS, version = version + 1
    WHERE device_id = $1 AND holder_id = $2 AND version = $3
      AND ($4::bigint IS NULL OR EXISTS (SELECT 1 FROM device WHERE device_id = $1 AND leader_epoch = $4
           AND leader_until > NOW_S))
    RETURNING device_id, holder_id, epoch, observed, turn, used_bytes
),
begun AS (
    INSERT INTO swap_log (device_id, holder_id, epoch, what, why)
    SELECT device_id, holder_id, epoch, $6, $7 FROM written WHERE $6::text IS NOT NULL
),
told AS (
    UPDATE swap_log SET
        received_ms = coalesce(received_ms, CASE WHEN $8 THEN MS END),
        done_ms = coalesce(done_ms, CASE WHEN $9 THEN MS END),
        free_ms = coalesce(free_ms, CASE WHEN $10 THEN MS END), bytes = greatest(bytes, written.used_bytes),
        outcome = coalesce(outcome, $11)
    FROM written WHERE swap_log.device_id = $1 AND swap_log.holder_id = $2 AND swap_log.epoch = written.epoch
      AND ($8 OR $9 OR $10)
),
stopped AS (
    UPDATE task SET state = 'preempting' FROM written
    WHERE state = 'running' AND task.device_id = $1 AND task.holder_id = $2
      AND (written.observed <> 'resident' OR NOT written.turn)
)
SELECT epoch, CASE WHEN $5 THEN pg_notify('CHANNEL', $1 || ' ' || $2) END FROM written
"""
_WRITE = (
    _WRITE.replace("SETS", ", ".join(f"{name} = ${at}" for at, name in enumerate(_OWN, start=12)))
    .replace("NOW_S", _NOW)
    .replace("MS", "extract(epoch FROM clock_timestamp() - at) * 1000")
    .replace("CHANNEL", CHANNEL)
)

_ADD = f"INSERT INTO holder ({_COLUMNS}) VALUES ({', '.join(f'${n}' for n in range(1, len(_FIELDS) + 1))}) ON CONFLICT DO NOTHING"  # noqa: S608,E501

_LEAD = f"""
UPDATE device SET leader = $2, leader_epoch = leader_epoch + (leader IS DISTINCT FROM $2)::int,
    leader_until = {_NOW} + $3, seen_at = now()
WHERE device_id = $1 AND (leader = $2 OR leader IS NULL OR leader_until < {_NOW}) RETURNING leader_epoch
"""  # noqa: S608

_BACKLOG = """
SELECT kind, count(*) FILTER (WHERE state = 'queued') AS waiting, count(*) FILTER (WHERE state <> 'queued') AS running,
    extract(epoch FROM min(created_at) FILTER (WHERE state = 'queued'))::float8 AS oldest,
    coalesce(bool_or(task_class = 'interactive'), false) AS interactive
FROM task WHERE state IN ('queued', 'running', 'preempting') AND kind = ANY($1) AND run_after <= now()
GROUP BY kind
"""

_VIEW = f"""
SELECT device_id, kind, memory_total_bytes, reserve_bytes, {_NOW} AS now,
    (SELECT count(*) FROM swap_log s WHERE s.device_id = $1 AND what = 'park' AND s.at > clock_timestamp() - interval '1 minute')
    AS of_late FROM device WHERE device_id = $1
"""  # noqa: S608,E501


@dataclass(frozen=True)
class _Marks:
    """What a write means for the log of commands."""

    ring: bool
    what: str | None = None
    why: str | None = None
    received: bool = False
    done: bool = False
    free: bool = False
    outcome: str | None = None


def material(old: HolderRow, new: HolderRow) -> bool:
    """Something that a decision may hang on."""
    quiet: dict[str, Any] = {"heartbeat": new.heartbeat, "interactive_at": new.interactive_at}
    if abs(new.used_bytes - old.used_bytes) < SMALL_BYTES:
        quiet["used_bytes"] = new.used_bytes
    return replace(old, **quiet) != new


def marks_of(old: HolderRow, new: HolderRow, change: Change | None = None) -> _Marks:
    done = new.done_epoch == new.epoch and old.done_epoch != new.epoch
    free = change is not None and new.observed == "parked" and old.observed != "parked" and not change.forget_instance
    return _Marks(
        ring=change is not None or material(old, new),
        what=change.command if change else None,
        why=change.why if change and change.command else None,
        received=new.acked_epoch == new.epoch and old.acked_epoch != new.epoch,
        done=done,
        free=free or (done and new.observed == "resident"),
        outcome=_outcome(old, new),
    )


def _outcome(old: HolderRow, new: HolderRow) -> str | None:
    if new.observed == "quarantined":
        return "quarantined"
    return new.why if new.failures > old.failures else None


class PostgresHolders:
    """One row a holder, one writer at a time."""

    def __init__(
        self, pool: Pool, lease_s: float = Limits.lease_s, ring: Callable[[str], None] = lambda _device: None
    ) -> None:
        """`ring`: told the device where something changed here, which is sooner than the database's own ring."""
        self._pool, self._ring = pool, ring
        self._beat_s = lease_s * BEAT
        self._homeless: dict[str, tuple[str, float]] = {}

    async def add_device(self, device: Device) -> None:
        with in_our_words():
            await self._pool.execute(
                "INSERT INTO device (device_id, kind, memory_total_bytes, reserve_bytes) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (device_id) DO UPDATE SET memory_total_bytes = excluded.memory_total_bytes,"
                " reserve_bytes = excluded.reserve_bytes, kind = excluded.kind, seen_at = now()",
                device.device_id,
                device.kind,
                device.memory_total,
                device.reserve,
            )

    def turn_away(self, holder_id: str, kind: str) -> NotFound:
        """What to tell a holder that asked for a kind of device which is not here; it shows as an alarm too."""
        self._homeless[holder_id] = (kind, time.monotonic())
        return NotFound(_homeless(holder_id, kind))

    def _homeless_alarm(self) -> str | None:
        of_late = time.monotonic() - HOMELESS_S
        asked = sorted(self._homeless.items())
        return next((_homeless(holder_id, kind) for holder_id, (kind, at) in asked if at > of_late), None)

    async def register(self, new: HolderRow) -> HolderRow:
        self._homeless.pop(new.holder_id, None)
        for _ in range(AGAIN):
            old, version, now = await self._read(new.device_id, new.holder_id)
            row = registered(old, new, now)
            if old is None:
                if await self._added(row):
                    return row
            elif await self._written(row, version, marks_of(old, row)):
                await self._take_back(row)
                return row
        raise Busy

    async def _take_back(self, row: HolderRow) -> None:
        """Tasks of the process before; its tokens are old as soon as another has them, so nobody need wait."""
        with in_our_words():
            await self._pool.execute(
                "UPDATE task SET lease_until = now() WHERE device_id = $1 AND holder_id = $2"
                " AND state IN ('running', 'preempting')",
                row.device_id,
                row.holder_id,
            )

    async def sync(self, device_id: str, holder_id: str, said: Said) -> tuple[HolderRow, float]:
        for _ in range(AGAIN):
            old, version, now = await self._read(device_id, holder_id)
            if old is None or old.instance != said.instance:
                raise StaleInstance
            row = heard(old, said, now)
            if now - old.heartbeat < self._beat_s and not material(old, row):
                return old, now  # reading is free, writing is a commit
            if await self._written(row, version, marks_of(old, row)):
                return row, now
        raise Busy

    async def apply(self, device_id: str, leader_epoch: int, change: Change) -> HolderRow | None:
        old, version, now = await self._read(device_id, change.holder_id)
        if old is None or old.epoch != change.epoch:
            return None
        row = changed(old, change, now)
        marks = marks_of(old, row, change)
        return row if await self._written(row, version, marks, leader_epoch) else None

    async def _read(self, device_id: str, holder_id: str) -> tuple[HolderRow | None, int, float]:
        with in_our_words():
            found = await self._pool.fetchrow(_READ, device_id, holder_id)
            if found is None:
                return None, 0, await self._pool.fetchval(f"SELECT {_NOW}")
        return row_of(found), found["version"], found["now"]

    async def _added(self, row: HolderRow) -> bool:
        with in_our_words():
            if not await self._pool.fetchval("SELECT count(*) FROM device WHERE device_id = $1", row.device_id):
                raise NotFound(f"There is no device {row.device_id!r}.")
            done = await self._pool.execute(_ADD, *(_stored(getattr(row, name)) for name in _FIELDS))
        return bool(done == "INSERT 0 1")

    async def _written(self, row: HolderRow, version: int, marks: _Marks, leader_epoch: int | None = None) -> bool:
        m = marks
        with in_our_words():
            found = await self._pool.fetchrow(
                _WRITE, row.device_id, row.holder_id, version, leader_epoch, m.ring, m.what, m.why, m.received, m.done,
                m.free, m.outcome, *(_stored(getattr(row, name)) for name in _OWN),
            )  # fmt: skip
        if found is not None and m.ring:
            self._ring(row.device_id)
        return found is not None

    async def lead(self, device_id: str, who: str, lease_s: float) -> int | None:
        with in_our_words():
            epoch: int | None = await self._pool.fetchval(_LEAD, device_id, who, lease_s)
        return epoch

    async def view(self, device_id: str, free_bytes: int | None, age_s: float = 0.0) -> View:
        asked = time.monotonic()
        with in_our_words():
            device = await self._pool.fetchrow(_VIEW, device_id)
            if device is None:
                raise NotFound
            rows = await self._pool.fetch(
                f"SELECT {_COLUMNS} FROM holder WHERE device_id = $1 ORDER BY holder_id",  # noqa: S608
                device_id,
            )
            holders = tuple(row_of(each) for each in rows)
            kinds = [kind for each in holders for kind in each.kinds]
            waiting = await self._pool.fetch(_BACKLOG, kinds) if kinds else []
        return View(
            device_id, device["kind"], device["memory_total_bytes"], device["reserve_bytes"], device["now"], holders,
            backlog_of(holders, waiting), device["of_late"], free_bytes,
            # It is older by the way of the question, which may have been slow.
            device["now"] - age_s - (time.monotonic() - asked),
        )  # fmt: skip

    async def devices(self) -> list[DeviceStatus]:
        with in_our_words():
            rows = await self._pool.fetch(
                "SELECT *, (seen_at > now() - interval '1 minute') AS seen FROM device"
                " WHERE seen_at > now() - interval '1 day' ORDER BY device_id"
            )
        homeless = self._homeless_alarm()
        return [
            DeviceStatus(
                device_id=row["device_id"],
                kind=row["kind"],
                memory_total_bytes=row["memory_total_bytes"],
                memory_free_bytes=row["free_bytes"] or 0,
                reserve_bytes=row["reserve_bytes"],
                leader=row["leader"],
                alarm=(row["alarm"] or homeless) if row["seen"] else "no coordinator looks after this device",
                seen_at=row["seen_at"],
            )
            for row in rows
        ]

    async def holders(self) -> list[tuple[HolderRow, float]]:
        with in_our_words():
            rows = await self._pool.fetch(
                f"SELECT {_COLUMNS}, {_NOW} AS now FROM holder ORDER BY device_id, holder_id"  # noqa: S608
            )
        return [(row_of(each), each["now"]) for each in rows]

    async def swaps(self, limit: int) -> list[Swap]:
        with in_our_words():
            rows = await self._pool.fetch("SELECT * FROM swap_log ORDER BY swap_id DESC LIMIT $1", limit)
        return [Swap.model_validate(dict(row)) for row in rows]

    async def swaps_after(self, device_id: str, swap_id: int) -> list[tuple[int, Swap]]:
        """Commands that came to an end since, for the figures; those of before a restart were counted then."""
        with in_our_words():
            if swap_id == 0:
                newest = await self._pool.fetchval("SELECT coalesce(max(swap_id), 0) FROM swap_log")
                return [(newest, _NO_SWAP)] if newest else []
            rows = await self._pool.fetch(
                "SELECT * FROM swap_log WHERE device_id = $1 AND swap_id > $2 AND at < now() - interval '15 seconds'"
                " ORDER BY swap_id LIMIT 500",
                device_id,
                swap_id,
            )
        return [(row["swap_id"], Swap.model_validate(dict(row))) for row in rows]

    async def note(
        self, device_id: str, free_bytes: int | None, alarm: str | None, sample: Mapping[str, int] | None
    ) -> None:
        """What was seen of a device, for its status; with `sample` also for the record of the last day."""
        with in_our_words():
            await self._pool.execute(
                "UPDATE device SET free_bytes = $2, alarm = $3 WHERE device_id = $1", device_id, free_bytes, alarm
            )
            if sample is not None:
                await self._pool.execute(
                    "INSERT INTO memory_sample (device_id, free_bytes, used) VALUES ($1, $2, $3::jsonb)",
                    device_id,
                    free_bytes,
                    json.dumps(dict(sample)),
                )

    async def forget_old(self) -> None:
        """Records are for looking back, not for ever."""
        with in_our_words():
            await self._pool.execute("DELETE FROM memory_sample WHERE at < now() - interval '1 day'")
            await self._pool.execute("DELETE FROM swap_log WHERE at < now() - interval '30 days'")


_NO_SWAP = Swap(at=datetime.fromtimestamp(0, UTC), device_id="", holder_id="", epoch=0, what="turn", why="")


def backlog_of(holders: Sequence[HolderRow], rows: Sequence[Mapping[str, Any]]) -> dict[str, Backlog]:
    by_kind = {row["kind"]: row for row in rows}
    found = {}
    for holder in holders:
        mine = [by_kind[kind] for kind in holder.kinds if kind in by_kind]
        if mine:
            oldest = [row["oldest"] for row in mine if row["oldest"] is not None]
            found[holder.holder_id] = Backlog(
                sum(row["waiting"] for row in mine),
                sum(row["running"] for row in mine),
                min(oldest, default=None),
                any(row["interactive"] for row in mine),
            )
    return found


def row_of(row: Mapping[str, Any]) -> HolderRow:
    values: dict[str, Any] = {name: tuple(row[name]) if name == "kinds" else row[name] for name in _FIELDS}
    return HolderRow(**values)


def _stored(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
