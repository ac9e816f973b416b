"""The quantum that starvation earns: measured from the moment the model is there, and of use only to who has work."""

from __future__ import annotations

from dataclasses import replace

from services.gpu_coordinator.ledger import Backlog, HolderRow, Limits, Said, View, heard
from services.gpu_coordinator.policy import changed, decide

GB = 10**9
LIMITS = Limits(wake_s=60.0, quantum_s=20.0, starve_s=300.0, linger_s=3.0)


def row(name: str, **more: object) -> HolderRow:
    return replace(HolderRow(name, "gpu0", 6 * GB, instance="ins_1", heartbeat=1000.0, wake_ms=800.0), **more)  # type: ignore[arg-type]


def view(*rows: HolderRow, now: float, **backlog: Backlog) -> View:
    free = 10 * GB - sum(each.bytes_resident for each in rows if each.observed == "resident")
    return View("gpu0", "fake", 10 * GB, 0, now, rows, backlog, free_bytes=free, free_at=now)


def test_the_time_that_waking_did_not_take_is_not_part_of_the_quantum() -> None:
    starved = Backlog(waiting=3, oldest=100.0)
    chat = row("chat", wants="interactive", wants_since=1000.0, interactive_at=1000.0)
    (wake,) = decide(view(chat, row("speech"), now=1000.0, speech=starved), LIMITS)
    assert (wake.holder_id, wake.command, wake.turn) == ("speech", "wake", True)
    waking = changed(row("speech"), wake, 1000.0)
    assert waking.quantum_until == 1000.0 + LIMITS.wake_s + LIMITS.quantum_s  # a slow one still gets its time
    awake = heard(waking, Said("ins_1", waking.epoch, "resident"), 1001.0)
    assert awake.observed == "resident" and awake.quantum_until == 1001.0 + LIMITS.quantum_s
    again = heard(awake, Said("ins_1", awake.epoch, "resident"), 1005.0)
    assert again.quantum_until == awake.quantum_until


def test_a_quantum_without_work_makes_nobody_wait() -> None:
    speech = row("speech", observed="resident", desired="resident", quantum_until=1020.0, used_bytes=6 * GB)
    chat = row("chat", wants="interactive", wants_since=1001.0, interactive_at=1005.0)
    speech = replace(speech, turn=True)
    busy = decide(view(chat, speech, now=1005.0, speech=Backlog(running=1, oldest=1000.0)), LIMITS)
    assert not [each for each in busy if each.command == "park"]
    (park,) = decide(view(chat, speech, now=1005.0), LIMITS)
    assert (park.holder_id, park.command) == ("speech", "park")
