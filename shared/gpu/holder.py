"""A service's model as a holder of device memory: it registers, obeys its row, and lets go when it cannot renew.

The row in PostgreSQL is the truth and is read again and again; what comes over Redis only makes that sooner. Without a
renewed lease the model's process is killed: memory cannot check a token, so the fence is a kill.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from shared import telemetry
from shared.clients.gpu_coordinator import CoordinatorClient
from shared.errors import (
    Busy,
    Conflict,
    DeadlineExceeded,
    ModelNotReady,
    ModelOutOfMemory,
    NotFound,
    ProductError,
    StorageFailed,
    UpstreamUnavailable,
)
from shared.gpu.reconcile import Reconciler
from shared.lifecycle import News, background, comes
from shared.schemas.coordinator import HolderGrant
from shared.schemas.gpu import DeviceKind, RegisterHolder, Reply, SyncHolder, command_of
from shared.schemas.ids import new_id
from shared.storage.redis import Store

log = logging.getLogger(__name__)
LOOK_S = 0.25
"""Between two looks at the row while a command is possible."""
IDLE_S = 1.0
SAFE = 0.8
"""Part of the lease after which the memory is let go; the rest is for clocks and slow answers."""
AGAIN_S = (0.25, 5.0)
TAKEN_S = 10.0
"""Before a holder whose place another process took registers anew."""
MEASURE_S = 5.0
NOBODY_S = 10.0
"""How long a user waits for a coordinator that does not answer."""
_GONE = (UpstreamUnavailable, DeadlineExceeded, StorageFailed, Busy)
Told = Callable[[str], None]
"""Takes a sentence about what is waited for."""


class Preempted(Exception):
    """Somebody at a keyboard comes first; the work goes on from its cursor later."""


class Model(Protocol):
    """What is held; `ModelChild` in production."""

    @property
    def alive(self) -> bool:
        """There is a process that may hold memory."""
        ...

    async def wake(self) -> None: ...
    async def park(self) -> None: ...
    async def kill(self) -> None: ...
    def used_bytes(self) -> int: ...


class Holder:
    """`run()` serves for ever; cancel it to stop, then the memory is let go and the row says so."""

    def __init__(
        self,
        name: str,
        client: CoordinatorClient,
        model: Model,
        *,
        bytes_resident: int,
        bytes_parked: int = 0,
        kinds: Sequence[str] = (),
        device_kind: DeviceKind = "cpu",
        device_id: str | None = None,
        events: Store | None = None,
        idle_s: float = -1,
        warm: bool = False,
    ) -> None:
        """`kinds`: tasks of the queue that need the model. `idle_s`: quiet time before it is let go; -1: never.

        `warm`: it is woken once at the start, so that what it can do is known.
        """
        self.name, self._client, self.model, self._events = name, client, model, events
        self._register_as = RegisterHolder(
            instance="-", device_id=device_id, device_kind=device_kind, kinds=list(kinds),
            bytes_resident=bytes_resident, bytes_parked=bytes_parked,
        )  # fmt: skip
        self._state = Reconciler()
        self._instance, self._device_id = "", ""
        self._lease_until = 0.0
        self._waiting = self._using = self._background = 0
        self._work: asyncio.Task[None] | None = None
        self._news = News()
        self._bell = asyncio.Event()
        self._again_s = AGAIN_S[0]
        self._why: str | None = "The coordinator has not answered yet."
        self._told_epoch: tuple[int, str] = (0, "")
        self._used_bytes = self._received = 0
        self._idle_s, self._warm = idle_s, warm
        self._used_at = asyncio.get_running_loop().time()
        self._beside: set[asyncio.Task[None]] = set()

    # -- for those who use the model

    @property
    def ready(self) -> bool:
        return self._state.ready and self._now() < self._lease_until

    @property
    def holds(self) -> bool:
        """The memory is taken, whether or not it may be used."""
        return self._state.phase != "parked"

    @property
    def turn(self) -> bool:
        """Background work may compute."""
        return self._state.turn and self._now() < self._lease_until

    @property
    def sent_away(self) -> bool:
        """The coordinator took the memory or the turn; nothing of ours broke."""
        row = self._state.row
        return row is None or row.desired == "parked" or not row.turn

    @property
    def others_first(self) -> bool:
        """Somebody at a keyboard asks: even work that needs no memory of the device should wait."""
        row = self._state.row
        return row is not None and row.observed == "resident" and not row.turn

    @property
    def must_yield(self) -> bool:
        """Whoever uses the model has to leave at the next good moment."""
        return not self.ready

    def grant(self) -> HolderGrant | None:
        """What the queue wants to see before it hands out work; None without the turn."""
        row = self._state.row
        if row is None or not self.turn:
            return None
        return HolderGrant(holder_id=self.name, device_id=self._device_id, instance=self._instance, epoch=row.epoch)

    @asynccontextmanager
    async def use(
        self, *, most_s: float = 60.0, told: Told | None = None, unless: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[None]:
        """Interactive use: the model is there inside.

        Raises ModelNotReady where it is not within `most_s` seconds, cannot be, or nobody wants it any more (`unless`).
        """
        self._waiting += 1
        self._ring()
        try:
            with telemetry.here().timed("nemo_model_wait_seconds"):
                await self._until_ready(most_s, told, unless)
            self._using += 1
            try:
                yield
            finally:
                self._using -= 1
        finally:
            self._waiting -= 1
            self._used_at = self._now()
            self._ring()

    async def _until_ready(self, most_s: float, told: Told | None, unless: Callable[[], bool]) -> None:
        deadline, said = self._now() + most_s, ""
        alone = self._now() + NOBODY_S
        while not self.ready:
            self._require_possible(alone)
            left_s = deadline - self._now()
            if left_s <= 0 or unless():
                raise ModelNotReady(self._why or "The model waits for memory.", retry_after_s=10)
            waits_for = self._waits_for()
            if told is not None and waits_for != said:
                said = waits_for
                told(said)
            await self._news.heard(min(1.0, left_s))

    def _require_possible(self, alone: float) -> None:
        """Raises ModelNotReady where waiting longer would not help."""
        row = self._state.row
        if row is None and self._now() > alone:
            raise ModelNotReady(self._why, retry_after_s=10)
        if row is not None and row.failures > 1 and row.observed == "parked":
            raise ModelNotReady(f"The model cannot be loaded ({row.why or 'see the log'}).", retry_after_s=30)
        if row is not None and not row.fits:
            need = row.bytes_resident / 1e9
            raise ModelNotReady(f"The model needs {need:.1f} GB, more than the device has; choose a smaller one.")

    def _waits_for(self) -> str:
        row = self._state.row
        if row is None:
            return "the coordinator"
        return "the model is being loaded" if row.desired == "resident" else "another model to leave the memory"

    @asynccontextmanager
    async def in_background(self) -> AsyncIterator[None]:
        """One piece of background work. Raises Preempted without the turn."""
        if not self.turn:
            raise Preempted
        self._background += 1
        try:
            yield
        finally:
            self._background -= 1
            self._ring()

    async def turn_comes(self) -> HolderGrant:
        """Waits until background work may compute."""
        while (grant := self.grant()) is None:
            await self._news.heard(5.0)
        return grant

    def _ring(self) -> None:
        self._bell.set()

    # -- the loop

    async def run(self) -> None:
        set_on_death(self.model, self._died)
        telemetry.here().ask("nemo_model_ready", lambda: self.ready)
        telemetry.here().ask("nemo_model_memory_bytes", lambda: self._used_bytes if self.model.alive else 0)
        try:
            async with background(self._listen(), self._measure()):
                while True:
                    await self._round()
        finally:
            await asyncio.shield(self._leave())

    async def _round(self) -> None:
        self._bell.clear()
        wait_s = self._again_s
        try:
            await self._look()
            wait_s = LOOK_S if self._state.phase != "parked" or self._waiting else IDLE_S
            self._again_s = AGAIN_S[0]
        except Conflict:
            log.warning("another process speaks for this holder", extra={"holder": self.name})
            await self._fence("Another process holds this model's place.")
            wait_s = self._again_s = TAKEN_S if self._again_s >= TAKEN_S / 2 else self._again_s * 4
        except NotFound as error:
            self._why = error.detail
            self._again_s = wait_s = AGAIN_S[1]
        except ProductError as error:
            self._why = f"The coordinator does not answer ({error.code})."
            self._again_s = min(self._again_s * 2, AGAIN_S[1])
        except Exception as error:  # nothing may end a holder but its own cancellation
            log.exception("the holder stumbled", extra={"kind": type(error).__name__})
        if self._instance and self._now() >= self._lease_until:
            await self._fence("The coordinator does not answer, so the model was let go.")
        safe_s = max(0.0, self._lease_until - self._now()) if self._instance else wait_s
        await comes(self._bell, min(wait_s, max(0.01, safe_s)))

    async def _look(self) -> None:
        """Say how things are, take the row in, begin what it asks for."""
        if not self._instance:
            await self._register()
        await self._begin()
        fresh = await self._sync()
        if await self._begin() or fresh:  # what is done at once is said at once
            await self._sync()

    async def _register(self) -> None:
        instance, asked = new_id("ins"), self._now()
        row = await self._client.register(self.name, self._register_as.model_copy(update={"instance": instance}))
        self._received = 0
        self._instance, self._device_id = instance, row.device_id
        self._lease_until = asked + row.lease_s * SAFE
        self._state.fenced()
        self._state.obey(row, self._now())
        self._why = None
        log.info("registered", extra={"holder": self.name, "device_id": row.device_id, "epoch": row.epoch})

    async def _sync(self) -> bool:
        """Renews the lease, which counts from before the call, whose answer may be slow. True for a new command."""
        row = self._state.row
        assert row is not None
        epoch, phase, asked = row.epoch, self._state.phase, self._now()
        said = SyncHolder(
            instance=self._instance, epoch=epoch, phase=phase, used_bytes=self._used_bytes,
            wants="interactive" if self._waiting else "background" if self._warm else None, error=self._state.error,
            idle=self._idle(), received=self._received,
        )  # fmt: skip
        async with asyncio.timeout(max(0.05, self._lease_until - asked)):
            answer = await self._client.sync(self.name, self._device_id, said)
        self._lease_until = asked + answer.lease_s * SAFE
        turned = self._state.turn
        fresh = self._state.obey(answer, self._now())
        if fresh:
            self._reply("received")
        elif phase in ("parked", "resident") and (epoch, phase) != self._told_epoch and answer.done_epoch == epoch:
            self._told_epoch = (epoch, phase)
            self._reply("done")
        self._why = answer.why
        if fresh or turned != self._state.turn:
            self._news.tell()
        return fresh

    def _idle(self) -> bool:
        quiet = not (self._waiting or self._background or self._warm)
        return quiet and 0 <= self._idle_s < self._now() - self._used_at

    async def _begin(self) -> bool:
        """True where something changed that has to be said."""
        working = self._work is not None and not self._work.done()
        if self._state.phase == "draining":
            self._news.tell()  # those who use it have to hear that they must leave
        busy = bool(self._using + self._background)
        step = self._state.step(busy=busy, working=working, alive=self.model.alive, now=self._now())
        if step is None:
            return False
        if step == "kill":
            await self._kill("killed")
        else:
            self._state.begun(step)
            self._work = asyncio.create_task(self._woken() if step == "wake" else self._parked())
        return True

    async def _woken(self) -> None:
        error: str | None = None
        try:
            await self.model.wake()
            self._used_bytes = await asyncio.to_thread(self.model.used_bytes)
        except ModelOutOfMemory:
            error = "out_of_memory"
        except Exception as failure:  # whatever a runtime raises over its weights
            error = "failed"
            self._why = failure.detail if isinstance(failure, ProductError) else "The model could not be loaded."
            if not isinstance(failure, ProductError):
                log.exception("the model could not be loaded", extra={"kind": type(failure).__name__})
        if error is not None:
            await self.model.kill()  # what it had of the memory goes with it
            self._used_bytes = 0
            self._state.parked(error)
        else:
            self._state.woken()
            self._warm, self._used_at = False, self._now()
        self._news.tell()
        self._ring()

    async def _parked(self) -> None:
        try:
            await self.model.park()
        except Exception as error:  # what does not let go is killed
            log.warning("the model did not let go and is killed", extra={"kind": type(error).__name__})
            await self.model.kill()
        self._used_bytes = await asyncio.to_thread(self.model.used_bytes)
        self._state.parked()
        self._news.tell()
        self._ring()

    async def _kill(self, why: str) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
            self._work = None
        if self.model.alive:
            log.warning("the model's process is killed", extra={"holder": self.name, "why": why})
        await self.model.kill()
        self._used_bytes = 0
        self._state.parked()
        self._news.tell()

    async def _fence(self, why: str) -> None:
        """Whatever the row says, nobody may count on us any more, nor we on it."""
        await self._kill(why)
        self._state.fenced()
        self._instance, self._why = "", why
        self._news.tell()

    def _died(self) -> None:
        """The model's process ended by itself."""
        if self._state.phase != "parked":
            self._used_bytes = 0
            self._state.parked("lost")
            self._news.tell()
            self._ring()

    async def _leave(self) -> None:
        """A clean end: the memory is free and the row says so."""
        await self._kill("the service ends")
        if self._instance and self._state.row is not None:
            self._state.error = "left"
            with suppress(ProductError, TimeoutError):
                async with asyncio.timeout(2):
                    await self._sync()

    # -- Redis: sooner, never more certain

    async def _listen(self) -> None:
        wait_s = AGAIN_S[0]
        while self._events is not None:
            with suppress(StorageFailed):
                async with self._events.subscribe(f"pause_{self.name}", f"resume_{self.name}") as messages:
                    wait_s = AGAIN_S[0]
                    self._ring()
                    async for _channel, message in messages:
                        self._rung(message)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_S[1])

    def _rung(self, message: dict[str, Any]) -> None:
        """What is bare or unknown means: go and read your row. What is for another or old means nothing."""
        command = command_of(message)
        row = self._state.row
        if command is None or row is None:
            self._ring()
        elif command.device == self._device_id and command.epoch >= row.epoch:
            if command.instance == self._instance:
                self._received = command.epoch
            self._ring()

    def _reply(self, phase: str) -> None:
        row = self._state.row
        if self._events is None or row is None:
            return
        word = "resumed" if row.desired == "resident" and row.turn else "paused"
        reply = Reply(device=self._device_id, epoch=row.epoch, instance=self._instance, phase=phase,
                      used_bytes=self._used_bytes)  # fmt: skip
        task = asyncio.create_task(self._publish(f"{self.name}_{word}", reply))
        self._beside.add(task)  # Redis may be slow; the lease must not be
        task.add_done_callback(self._beside.discard)

    async def _publish(self, channel: str, reply: Reply) -> None:
        assert self._events is not None
        with suppress(StorageFailed):
            await self._events.publish(channel, reply.model_dump())

    async def _measure(self) -> None:
        """What the model takes may grow while it works."""
        while True:
            await asyncio.sleep(MEASURE_S)
            if self._state.phase == "resident":
                self._used_bytes = await asyncio.to_thread(self.model.used_bytes) or self._used_bytes

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def set_on_death(model: Model, then: Callable[[], None]) -> None:
    if hasattr(model, "on_death"):
        model.on_death = then
