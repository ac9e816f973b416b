"""What happens next on one device: a pure function of what is known of it.

Interactive work goes before background; whoever fits stays; the least is parked that is needed. One model leaves at a
time and none loads meanwhile, so that what the device shows can be put down to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.gpu_coordinator.ledger import Change, HolderRow, Limits, View, is_free
from shared.schemas.coordinator import TaskClass

MOVING = frozenset({"waking", "draining", "parking"})
SWAP_S = 0.5
"""What a swap is taken to cost while none was measured."""


@dataclass(frozen=True)
class Demand:
    """Somebody waits for a holder's model, or is using it."""

    holder: HolderRow
    task_class: TaskClass
    since: float
    starved: bool = False

    @property
    def rank(self) -> int:
        return 0 if self.starved else 1 if self.task_class == "interactive" else 2


def decide(view: View, limits: Limits) -> list[Change]:
    """The changes to make now, at most one a holder; deciding again after them finds nothing twice."""
    changes = list(_health(view, limits))
    told = {each.holder_id for each in changes}
    for change in _turns(view, limits):
        if change.holder_id not in told:
            changes.append(change)
            told.add(change.holder_id)
    moving = {each.observed for each in view.holders} & MOVING
    if moving <= {"waking"} and not any(each.command for each in changes):
        first = [each for each in _residence(view, limits) if each.holder_id not in told][:1]
        # What fits may load beside others that load; whoever leaves does so alone, or nobody could tell what it freed.
        changes += [each for each in first if each.command == "wake" or not moving]
    return changes


def next_look_s(view: View, limits: Limits) -> float:
    """Seconds until time alone may change something; a bell may ring before."""
    if any(each.observed not in ("parked", "resident") for each in view.holders):
        return 0.1
    return 0.25 if demands(view, limits) else 1.0


# -- who is well


def _health(view: View, limits: Limits) -> Iterator[Change]:
    for row in view.holders:
        change = _silence(view, row, limits) or _step(view, row, limits)
        if change is not None:
            yield change


def _silence(view: View, row: HolderRow, limits: Limits) -> Change | None:
    """Who said nothing for a whole lease has let go of the memory, or is stuck; either has to be seen."""
    if row.instance is None or view.now - row.heartbeat <= limits.lease_s:
        return None
    if row.observed == "parked":
        return Change(row.holder_id, row.epoch, "parked", "parked", "it stopped answering", forget_instance=True)
    observed = row.observed if row.observed in ("fencing", "quarantined") else "unknown"
    return Change(row.holder_id, row.epoch, observed, "parked", "it stopped answering", forget_instance=True)


def _step(view: View, row: HolderRow, limits: Limits) -> Change | None:
    done = row.done_epoch == row.epoch
    late = row.deadline is not None and view.now > row.deadline
    if row.observed == "unknown":
        return _fence(row, limits, "it stopped answering")
    if row.observed == "waking" and late:
        return _fence(row, limits, "waking took too long")
    if row.observed in ("draining", "parking"):
        return (
            _parked(view, row, limits) if done else _fence(row, limits, "it did not let go in time") if late else None
        )
    if row.observed in ("fencing", "quarantined"):
        return _verified(view, row, limits, done)
    return None


def _parked(view: View, row: HolderRow, limits: Limits) -> Change | None:
    """It says it is done; the device has to say so too."""
    if is_free(view, row) is not False:
        return Change(row.holder_id, row.epoch, "parked", "parked", "its memory is free")
    if row.done_at is not None and view.now - row.done_at > limits.settle_s:
        return _fence(row, limits, "it said done, but its memory is not free")
    return None


def _verified(view: View, row: HolderRow, limits: Limits, done: bool) -> Change | None:
    """After a kill: by the device's word, or on the host by the process's end."""
    free, since = is_free(view, row), row.done_at if done and row.done_at is not None else row.commanded
    overdue = view.now - since > limits.verify_s
    killed = done or row.instance is None
    if killed and (free or (free is None and (done or overdue))):
        return Change(row.holder_id, row.epoch, "parked", "parked", row.why or "its memory is free")
    if overdue and row.observed == "fencing":
        return Change(row.holder_id, row.epoch, "quarantined", "parked", "its memory does not come back")
    return None


def _fence(row: HolderRow, limits: Limits, why: str) -> Change:
    return Change(row.holder_id, row.epoch, "fencing", "parked", why, command="fence", deadline_s=limits.verify_s)


# -- who computes


def _turns(view: View, limits: Limits) -> Iterator[Change]:
    """Background work computes unless somebody at a keyboard does, or did a moment ago."""
    quiet = not _interactive(view, limits)
    for row in view.holders:
        if row.observed != "resident" or not row.kinds or row.instance is None:
            continue
        asked = row.holder_id in view.backlog and view.backlog[row.holder_id].interactive
        turn = quiet or asked or _in_quantum(view, row) or _starved(view, row, limits)
        if turn != row.turn:
            why = "nobody waits at a keyboard" if quiet else "waited long enough" if turn else "somebody asks"
            earned = limits.quantum_s if turn and not quiet and not _in_quantum(view, row) else None
            yield Change(
                row.holder_id, row.epoch, "resident", "resident", why, turn=turn, command="turn", quantum_s=earned
            )


def _interactive(view: View, limits: Limits) -> bool:
    """Now or within the linger."""
    moments = [row.interactive_at for row in view.holders if row.interactive_at is not None]
    using = any(row.wants == "interactive" and row.instance is not None for row in view.holders)
    return using or any(view.now - each < limits.linger_s for each in moments)


def _in_quantum(view: View, row: HolderRow) -> bool:
    return row.quantum_until is not None and view.now < row.quantum_until


# -- who is in memory


def demands(view: View, limits: Limits) -> list[Demand]:
    """Best first: the starved, then interactive, then background; of equals who has it, then who waits longest."""
    found = [demand for row in view.holders if (demand := _demand(view, row, limits)) is not None]
    return sorted(found, key=lambda each: (each.rank, each.holder.observed != "resident", each.since))


def _demand(view: View, row: HolderRow, limits: Limits) -> Demand | None:
    backlog = view.backlog.get(row.holder_id)
    if row.instance is None:
        return None
    if row.wants == "interactive" or (backlog and backlog.interactive):
        since = row.wants_since if row.wants == "interactive" else backlog.oldest if backlog else None
        return Demand(row, "interactive", since or view.now)
    if row.wants == "background" or (backlog and backlog.waiting + backlog.running):
        starts = [at for at in (row.wants_since, backlog.oldest if backlog else None) if at is not None]
        return Demand(row, "background", min(starts, default=view.now), _starved(view, row, limits))
    return None


def _starved(view: View, row: HolderRow, limits: Limits) -> bool:
    """It wants to work in the background and did not for too long, or it is in the quantum that this earned."""
    backlog = view.backlog.get(row.holder_id)
    waits = row.wants == "background" or bool(backlog and backlog.waiting + backlog.running)
    if not waits or row.instance is None:
        return False
    if _in_quantum(view, row):
        return True
    asked = [at for at in (row.wants_since, backlog.oldest if backlog else None) if at is not None]
    since = max(min(asked, default=view.now), row.turned_at or 0.0)
    return not (row.turn and row.observed == "resident") and view.now - since >= limits.starve_s


def _residence(view: View, limits: Limits) -> Iterator[Change]:
    waiting = demands(view, limits)
    for demand in waiting:
        row = demand.holder
        if row.observed == "resident":
            continue
        if row.observed == "parked" and not _resting(view, row, limits):
            yield from _admit(view, demand, waiting, limits)
    yield from _unwanted(view, waiting)


def _resting(view: View, row: HolderRow, limits: Limits) -> bool:
    """One retry at once, then now and then."""
    return row.failures > 1 and view.now - (row.done_at or row.commanded) < limits.retry_s


def _admit(view: View, demand: Demand, waiting: Sequence[Demand], limits: Limits) -> Iterator[Change]:
    row = demand.holder
    if row.bytes_resident <= view.room_for(row):
        if not _taken_by_others(view, row):
            yield _wake(demand, limits, turn=not _interactive(view, limits) or demand.starved)
        return
    victims = _victims(view, demand, waiting, limits)
    if victims:
        yield Change(
            victims[0].holder_id, victims[0].epoch, "draining", "parked", f"{row.holder_id} needs the memory",
            command="park", deadline_s=limits.park_s,
        )  # fmt: skip


def _taken_by_others(view: View, row: HolderRow) -> bool:
    """The ledger has room, but the device has not: a program that is not ours uses it."""
    return (
        view.kind != "cpu" and view.free_bytes is not None and view.free_bytes + row.bytes_parked < row.bytes_resident
    )


def _wake(demand: Demand, limits: Limits, *, turn: bool) -> Change:
    row = demand.holder
    within_s = max(limits.wake_s, 5 * (row.wake_ms or 0) / 1000)
    return Change(
        row.holder_id, row.epoch, "waking", "resident", f"{demand.task_class} work waits", turn=turn,
        command="wake", deadline_s=within_s, quantum_s=limits.quantum_s + within_s if demand.starved else None,
    )  # fmt: skip


def _victims(view: View, demand: Demand, waiting: Sequence[Demand], limits: Limits) -> list[HolderRow]:
    """The fewest and cheapest that have to go; none where that would not do, or not yet."""
    if demand.task_class != "interactive" and not demand.starved and view.changes_of_late >= limits.rate:
        return []
    wanted = {each.holder.holder_id: each for each in waiting}
    able = [
        row
        for row in view.others(demand.holder)
        if row.observed == "resident" and _may_evict(view, demand, row, wanted.get(row.holder_id), limits)
    ]
    able.sort(key=lambda row: (-(wanted[row.holder_id].rank if row.holder_id in wanted else 9), row.wake_ms or 0))
    chosen: list[HolderRow] = []
    for row in able:
        if _fits(view, demand, chosen):
            break
        chosen.append(row)
    if not _fits(view, demand, chosen):
        return []
    for row in list(chosen):
        rest = [each for each in chosen if each is not row]
        if _fits(view, demand, rest):
            chosen = rest
    return chosen


def _fits(view: View, demand: Demand, parked: Sequence[HolderRow]) -> bool:
    return demand.holder.bytes_resident <= view.room_for(demand.holder, [each.holder_id for each in parked])


def _may_evict(view: View, demand: Demand, row: HolderRow, its: Demand | None, limits: Limits) -> bool:
    lingers = row.interactive_at is not None and view.now - row.interactive_at < limits.linger_s
    if demand.rank == 0:
        return its is None or its.rank > 0
    if _in_quantum(view, row) and its is not None:  # one that found no work to do protects nobody
        return False
    if its is None:
        return demand.task_class == "interactive" or not lingers
    if its.rank != demand.rank:
        return its.rank > demand.rank
    # Of one class: who is in stays until the other has waited as long as the change costs, there and back.
    cost_s = 2 * sum((each.wake_ms or SWAP_S * 1000) / 1000 for each in (row, demand.holder))
    stayed_s = view.now - (row.commanded if row.observed == "resident" else view.now)
    return min(view.now - demand.since, stayed_s) >= max(cost_s, limits.linger_s)


def _unwanted(view: View, waiting: Sequence[Demand]) -> Iterator[Change]:
    """A ledger that its holders outgrew has to shrink: whoever is wanted least goes."""
    over = sum(row.reserved for row in view.holders) > view.usable
    resident = [row for row in view.holders if row.observed == "resident"]
    for row in resident:
        if row.idle and row.holder_id not in {each.holder.holder_id for each in waiting}:
            yield Change(
                row.holder_id, row.epoch, "draining", "parked", "nobody used it for long", command="park",
                deadline_s=10.0,
            )  # fmt: skip
    if over and len(resident) > 1:
        ranks = {each.holder.holder_id: each.rank for each in waiting}
        row = max(resident, key=lambda each: (ranks.get(each.holder_id, 9), each.reserved))
        yield Change(
            row.holder_id, row.epoch, "draining", "parked", "the models grew beyond the device", command="park",
            deadline_s=10.0,
        )  # fmt: skip


def refused(view: View, row: HolderRow) -> str | None:
    """Why this holder cannot be had at all, in a sentence for the operator; None where it can."""
    if row.bytes_resident > view.usable:
        need, have = row.bytes_resident / 1e9, view.usable / 1e9
        return (
            f"{row.holder_id} needs {need:.1f} GB, {view.device_id} has {have:.1f} GB to give; choose a smaller model"
        )
    return None


def changed(row: HolderRow, change: Change, now: float) -> HolderRow:
    """The row after the change."""
    rises = change.command is not None or change.forget_instance
    return replace(
        row,
        observed=change.observed,
        desired=change.desired,
        turn=change.turn,
        epoch=row.epoch + rises,
        commanded=now if change.command in ("wake", "park", "fence") else row.commanded,
        deadline=None if change.deadline_s is None else now + change.deadline_s,
        done_at=None if change.command else row.done_at,
        turned_at=now if change.turn or row.turn else row.turned_at,
        quantum_until=now + change.quantum_s if change.quantum_s is not None else row.quantum_until,
        instance=None if change.forget_instance else row.instance,
        wants=None if change.forget_instance else row.wants,
        wants_since=None if change.forget_instance else row.wants_since,
        used_bytes=row.bytes_parked if change.observed == "parked" else row.used_bytes,
        why=change.why if change.observed != "resident" else None,
    )
