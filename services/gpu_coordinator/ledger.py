"""Who may use which memory of a device: pure records and the two rules that everything rests on.

Every holder is charged for all that it may take until it is proven to hold less, and a proof is a reading of the
device, not somebody's word. Times are seconds of one clock, the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from shared.schemas.coordinator import TaskClass
from shared.schemas.gpu import Desired, DeviceKind, Observed, Phase

FREED = 0.8
"""Part of the expected memory that must have come back before a reservation is let go."""
WIDER = 1.25
"""What a budget is multiplied by after its owner ran out of memory."""
LEFT = "left"
"""The word of a service that ends as it should: nothing is held, and nobody will answer."""
HOLDS_NOTHING = frozenset({"parked"})


@dataclass(frozen=True)
class Limits:
    """Times in seconds, from the design's table."""

    lease_s: float = 15.0
    park_s: float = 10.0
    """For draining and freeing; then the child is killed."""
    wake_s: float = 10.0
    """Least time for waking; five times what it took of late where that is more."""
    settle_s: float = 2.0
    """From `done` until the device must show the memory as free."""
    verify_s: float = 30.0
    """From a kill until the reservation counts as lost."""
    linger_s: float = 3.0
    """Quiet time after the last interactive use before background work comes back."""
    starve_s: float = 300.0
    """A background wait that earns one quantum."""
    quantum_s: float = 20.0
    rate: int = 20
    """Most changes of residence in a minute that are not for somebody who waits at a keyboard."""
    retry_s: float = 60.0
    """Before a holder that cannot wake is tried again."""


@dataclass(frozen=True)
class HolderRow:
    """One holder of one device, as the database has it."""

    holder_id: str
    device_id: str
    bytes_resident: int
    bytes_parked: int = 0
    used_bytes: int = 0
    kinds: tuple[str, ...] = ()
    instance: str | None = None
    desired: Desired = "parked"
    observed: Observed = "parked"
    turn: bool = False
    epoch: int = 0
    acked_epoch: int = 0
    done_epoch: int = 0
    heartbeat: float = 0.0
    commanded: float = 0.0
    """When the last command was given."""
    deadline: float | None = None
    done_at: float | None = None
    wants: TaskClass | None = None
    wants_since: float | None = None
    idle: bool = False
    interactive_at: float | None = None
    """When it was last used interactively."""
    turned_at: float | None = None
    """When it last had its turn, or first asked for one."""
    quantum_until: float | None = None
    failures: int = 0
    wake_ms: float | None = None
    why: str | None = None

    @property
    def reserved(self) -> int:
        """Bytes that nobody else may count on."""
        if self.observed in HOLDS_NOTHING:
            return max(self.bytes_parked, 0)
        return max(self.bytes_resident, self.bytes_parked, self.used_bytes)


@dataclass(frozen=True)
class Backlog:
    """Tasks of the queue that need a holder."""

    waiting: int = 0
    running: int = 0
    oldest: float | None = None
    """Since when the oldest waits."""
    interactive: bool = False


@dataclass(frozen=True)
class View:
    """One device at one moment."""

    device_id: str
    kind: DeviceKind
    memory_total: int
    reserve: int
    now: float
    holders: tuple[HolderRow, ...] = ()
    backlog: dict[str, Backlog] = field(default_factory=dict)
    """By holder."""
    changes_of_late: int = 0
    """Changes of residence in the last minute."""
    free_bytes: int | None = None
    """As the device says; None where that cannot be had at the moment."""
    free_at: float = 0.0
    """When that was read."""

    def others(self, holder: HolderRow) -> list[HolderRow]:
        return [each for each in self.holders if each.holder_id != holder.holder_id]

    @property
    def usable(self) -> int:
        return self.memory_total - self.reserve

    def room_for(self, holder: HolderRow, but: Sequence[str] = ()) -> int:
        """Bytes left beside all others, those named counted as parked."""
        taken = sum(each.bytes_parked if each.holder_id in but else each.reserved for each in self.others(holder))
        return self.usable - taken


@dataclass(frozen=True)
class Change:
    """One step of one holder: made only where `epoch` is still the row's (compare and set)."""

    holder_id: str
    epoch: int
    observed: Observed
    desired: Desired
    why: str
    turn: bool = False
    command: Literal["wake", "park", "turn", "fence"] | None = None
    """Given: the epoch rises and the holder is told."""
    deadline_s: float | None = None
    quantum_s: float | None = None
    forget_instance: bool = False


def is_free(view: View, holder: HolderRow) -> bool | None:
    """Whether the device itself shows that this holder's memory came back; None where it cannot tell.

    A level, not a rise: what was freed before anybody looked is free as well (ollama#11997). Others count with what
    they are known to use, not with what they may use, or a lie could hide in their reserve.
    """
    if view.kind == "cpu":
        return None  # the host's memory belongs to many programs; a process that ended gives it back at once
    if view.free_bytes is None or view.free_at <= max(holder.commanded, holder.done_at or 0.0):
        return False  # what was read before cannot tell of what came after
    expected = max(0, max(holder.bytes_resident, holder.used_bytes) - holder.bytes_parked)
    others = sum(_physical(each) for each in view.others(holder))
    return view.memory_total - view.free_bytes <= (view.reserve + others + holder.bytes_parked + (1 - FREED) * expected)


def _physical(holder: HolderRow) -> int:
    """What it is known to use. Of one that is being killed nothing is known, and a guess would cover for another."""
    if holder.observed in HOLDS_NOTHING or holder.observed in ("fencing", "unknown"):
        return holder.bytes_parked
    return max(holder.used_bytes, holder.bytes_parked)


@dataclass(frozen=True)
class Said:
    """What a holder says of itself in one sync."""

    instance: str
    epoch: int
    phase: Phase
    used_bytes: int = 0
    wants: TaskClass | None = None
    idle: bool = False
    error: str | None = None
    received: int = 0


def heard(row: HolderRow, said: Said, now: float) -> HolderRow:
    """The row after a holder spoke. What it says of an older command is news of its health only."""
    row = replace(row, heartbeat=now, used_bytes=said.used_bytes, idle=said.idle, **_wants(row, said, now))
    if said.used_bytes > row.bytes_resident:
        row = replace(row, bytes_resident=said.used_bytes)  # measured beats declared
    if said.error == LEFT:
        held = row.observed not in HOLDS_NOTHING
        return replace(
            row, instance=None, observed="fencing" if held else "parked", desired="parked", turn=False, wants=None,
            wants_since=None, done_epoch=row.epoch, done_at=now, deadline=None, why="its service ended",
        )  # fmt: skip
    if said.received == row.epoch:
        row = replace(row, acked_epoch=row.epoch)
    if said.epoch != row.epoch:
        return row
    row = replace(row, acked_epoch=row.epoch)
    if row.desired == "resident":
        return _waking(row, said, now)
    return _parking(row, said, now)


def _wants(row: HolderRow, said: Said, now: float) -> dict[str, Any]:
    used = "interactive" in (said.wants, row.wants)
    return {
        "wants": said.wants,
        "wants_since": None if said.wants is None else row.wants_since or now,
        "interactive_at": now if used else row.interactive_at,
    }


def _waking(row: HolderRow, said: Said, now: float) -> HolderRow:
    if said.phase == "resident" and row.observed in ("waking", "resident"):
        if row.done_epoch == row.epoch:
            return row
        took_ms = (now - row.commanded) * 1000 if row.observed == "waking" else row.wake_ms
        return replace(
            row, observed="resident", done_epoch=row.epoch, deadline=None, wake_ms=_slow(row.wake_ms, took_ms),
            failures=0, why=None, quantum_until=_quantum(row, now),
        )  # fmt: skip
    if said.phase == "parked" and said.error and row.observed in ("waking", "resident"):
        wider = int(row.bytes_resident * WIDER) if said.error == "out_of_memory" else row.bytes_resident
        return replace(
            row, observed="fencing", desired="parked", turn=False, done_epoch=row.epoch, done_at=now, deadline=None,
            bytes_resident=wider, failures=row.failures + 1, why=said.error,
        )  # fmt: skip
    return row


def _quantum(row: HolderRow, now: float) -> float | None:
    """A quantum that began with the waking had the time for that on top; what it did not take is given back."""
    if row.quantum_until is None or row.deadline is None or row.observed != "waking":
        return row.quantum_until
    return now + max(0.0, row.quantum_until - row.deadline)


def _slow(before: float | None, now: float | None) -> float | None:
    """The slowest of the last ones, forgotten little by little."""
    if before is None or now is None:
        return now if before is None else before
    return max(now, before * 0.9)


def _parking(row: HolderRow, said: Said, now: float) -> HolderRow:
    if said.phase == "parked" and row.observed in ("draining", "parking", "fencing", "quarantined"):
        if row.done_epoch == row.epoch:
            return row
        observed: Observed = "parking" if row.observed == "draining" else row.observed
        return replace(row, observed=observed, done_epoch=row.epoch, done_at=now)
    if said.phase == "parking" and row.observed == "draining":
        return replace(row, observed="parking")
    return row


def registered(row: HolderRow | None, new: HolderRow, now: float) -> HolderRow:
    """A supervisor that starts anew. What its predecessor held is charged until it is seen to be free."""
    if row is None:
        return replace(new, epoch=1, acked_epoch=0, heartbeat=now)
    if row.instance == new.instance:
        return replace(row, heartbeat=now)  # the answer was lost and the question repeated
    held = row.observed not in HOLDS_NOTHING
    wide = max(row.bytes_resident, new.bytes_resident) if held or row.failures else new.bytes_resident
    return replace(
        row, instance=new.instance, kinds=new.kinds, bytes_resident=wide, bytes_parked=new.bytes_parked,
        epoch=row.epoch + 1, desired="parked", turn=False, wants=None, wants_since=None, heartbeat=now, commanded=now,
        used_bytes=row.used_bytes if held else 0, quantum_until=None, done_at=None,
        why="registered anew" if held else None,
        observed="fencing" if held and row.observed != "quarantined" else row.observed, deadline=None,
    )  # fmt: skip
