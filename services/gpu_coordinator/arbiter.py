"""One loop a device makes every decision about it; whatever is slow runs beside it and comes back as news."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from services.gpu_coordinator import device as devices
from services.gpu_coordinator.device import Probe
from services.gpu_coordinator.holders import PostgresHolders
from services.gpu_coordinator.ledger import Change, HolderRow, Limits, View
from services.gpu_coordinator.policy import decide, next_look_s, refused
from services.gpu_coordinator.service import Doorbell
from shared.errors import StorageFailed
from shared.schemas.gpu import Command, Swap
from shared.storage.redis import Store
from shared.telemetry import Metrics

log = logging.getLogger(__name__)
LEAD_S = 10.0
RENEW_S = 3.0
"""Seconds between renewals of the leadership."""
SAMPLE_S = 10.0
IDLE_READ_S = 5.0
BUSY_READ_S = 0.1
"""Seconds between readings of the device while nothing moves, and while something does."""
MIRROR_S = 300.0
BREATH_S = 0.005
"""However often it rings, holders have half of the time: they are what is waited for."""
ROUNDS = 8
"""Decisions in a row before others get their turn."""


class Arbiter:
    """`run()` serves one device for ever; of several coordinators the leader decides, the others watch."""

    def __init__(
        self,
        store: PostgresHolders,
        probe: Probe,
        events: Store,
        bell: Doorbell,
        limits: Limits,
        who: str,
        metrics: Metrics,
    ) -> None:
        self._store, self._probe, self._events, self._bell = store, probe, events, bell
        self._limits, self._who, self._metrics = limits, who, metrics
        self.device_id = probe.device.device_id
        self._epoch: int | None = None
        self._led_at = 0.0
        self._free: int | None = None
        self._read_at = 0.0
        # When the reading was begun: what comes later it cannot know.
        self._moving = False
        self._sampled = 0.0
        self._kinds: set[str] = set()
        self._last_swap = 0
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await self._read()
        reading = asyncio.create_task(self._keep_reading())
        try:
            while True:  # what rings between two turns of the loop, the look that follows sees
                began = time.monotonic()
                with self._bell.listening(f"gpu {self.device_id}", *self._kinds) as ear:
                    most_s = await self._safely()
                    looked = time.monotonic()
                    await ear.wait(most_s)
                await asyncio.sleep(max(0.0, looked + max(BREATH_S, looked - began) - time.monotonic()))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _safely(self) -> float:
        """One look; seconds until the next. Only its own cancellation may end the loop."""
        try:
            return await self._look()
        except StorageFailed:
            log.warning("the database does not answer; nothing is decided meanwhile")
        except Exception as error:
            log.exception("a decision failed", extra={"kind": type(error).__name__})
        return 1.0

    async def _look(self) -> float:
        if not await self._leads():
            return 1.0
        view = await self._view()
        for _ in range(ROUNDS):
            if not await self._act(view):
                break
            view = await self._view()
        self._kinds = {kind for each in view.holders for kind in each.kinds}
        self._moving = any(each.observed not in ("parked", "resident") for each in view.holders)
        await self._note(view)
        return next_look_s(view, self._limits)

    async def _view(self) -> View:
        return await self._store.view(self.device_id, self._free, time.monotonic() - self._read_at)

    async def _leads(self) -> bool:
        if self._epoch is not None and time.monotonic() <= self._led_at + RENEW_S:
            return True
        return await self._lead()

    async def _lead(self) -> bool:
        before, self._led_at = self._epoch, time.monotonic()
        self._epoch = await self._store.lead(self.device_id, self._who, LEAD_S)
        if self._epoch is not None and before is None:
            await self._store.add_device(self._probe.device)
            log.info("leads a device", extra={"device_id": self.device_id, "epoch": self._epoch})
        return self._epoch is not None

    async def _act(self, view: View) -> bool:
        """True where something was changed."""
        done = False
        for change in decide(view, self._limits):
            if self._epoch is None:
                break
            row = await self._store.apply(self.device_id, self._epoch, change)
            if row is None:  # the row moved on, or another leads; look again
                await self._lead()
                continue
            done = True
            self._observe(change, row)
            self._beside(self._tell(change, row))
        return done

    def _observe(self, change: Change, row: HolderRow) -> None:
        log.info(
            change.command or "settled",
            extra={"holder": row.holder_id, "device_id": self.device_id, "epoch": row.epoch, "state": row.observed,
                   "turn": row.turn, "why": change.why},
        )  # fmt: skip
        self._metrics.count("nemo_gpu_changes_total", holder=row.holder_id, what=change.command or row.observed)

    async def _tell(self, change: Change, row: HolderRow) -> None:
        """A ring at the holder's door, and the mirror for observers. Losing either costs latency only."""
        if change.command is None or row.instance is None:
            return
        way = "resume" if row.desired == "resident" and row.turn else "pause"
        left_ms = int(change.deadline_s * 1000) if change.deadline_s else None
        command = Command(device=self.device_id, epoch=row.epoch, instance=row.instance, deadline_ms=left_ms)
        with suppress(StorageFailed):
            await self._events.publish(f"{way}_{row.holder_id}", command.model_dump())
            await self._events.publish("gpu", {"type": "gpu", "device_id": self.device_id, "holder_id": row.holder_id})
            if row.observed == "waking":
                await self._events.put(f"gpu_lock:{self.device_id}", row.holder_id, MIRROR_S)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _note(self, view: View) -> None:
        if time.monotonic() - self._sampled < (SAMPLE_S if not self._moving else 1.0):
            return
        self._sampled = time.monotonic()
        used = {each.holder_id: each.used_bytes for each in view.holders}
        await self._store.note(self.device_id, self._free, alarm_of(view, self._limits), used)
        for swap_id, swap in await self._store.swaps_after(self.device_id, self._last_swap):
            self._last_swap = max(swap_id, self._last_swap)
            self._show(swap)

    def _show(self, swap: Swap) -> None:
        for step in ("received", "done", "free"):
            if (took_ms := getattr(swap, f"{step}_ms")) is not None:
                self._metrics.took("nemo_gpu_step_seconds", took_ms / 1000, what=swap.what, step=step)
        if swap.what in ("wake", "park"):
            self._metrics.count("nemo_gpu_swaps_total", holder=swap.holder_id, what=swap.what)
            self._metrics.count("nemo_gpu_swapped_bytes_total", swap.bytes, what=swap.what)

    async def _read(self) -> None:
        began, found = time.monotonic(), await devices.read(self._probe)
        self._free, self._read_at = found, began

    async def _keep_reading(self) -> None:
        """Keeps a fresh reading of the device, and rings when it changed while somebody waits for that."""
        while True:
            await self._read()
            if self._moving:
                self._bell.ring_topic(f"gpu {self.device_id}")
            for _ in range(int(IDLE_READ_S / BUSY_READ_S)):
                await asyncio.sleep(BUSY_READ_S)
                if self._moving:
                    break


def alarm_of(view: View, limits: Limits) -> str | None:
    """What an operator should look at, in a sentence."""
    for row in view.holders:
        if row.observed == "quarantined":
            return f"the memory of {row.holder_id} does not come back, so it is given to nobody"
        if (reason := refused(view, row)) is not None:
            return reason
        if row.failures > 1:
            return f"{row.holder_id} cannot be woken ({row.why})"
    if view.changes_of_late >= limits.rate:
        return f"{view.changes_of_late} changes of residence in a minute; the models do not fit together"
    if view.free_bytes is None:
        return "the device cannot be read"
    return None
