"""Random schedules over a lossy bus and a lying device: the design's invariants P1 to P14."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.gpu_coordinator import ledger, memory, policy
from services.gpu_coordinator.ledger import Change, HolderRow
from services.gpu_coordinator.policy import changed
from tests import gpu_world
from tests.gpu_world import LIMITS, Coordinator, Side, Violation, World, fault, schedule

SIDES = st.sampled_from(["chat", "speech"])
WAITS = st.sampled_from([0.05, 0.1, 0.3, 1.0, 4.0, 20.0])


class Sharing(RuleBasedStateMachine):
    """Two models that do not fit together; hypothesis chooses what happens and shrinks what goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World({"chat": 60, "speech": 70})

    def side(self, name: str) -> Side:
        return self.world.sides[name]

    def coordinator(self, second: bool) -> Coordinator:
        return self.world.coordinators[-1 if second else 0]

    @rule(
        name=SIDES, ask=st.sampled_from(["ok", "ok", "lost", "late", "doubled"]), answer=st.sampled_from(["ok", "lost"])
    )
    def look(self, name: str, ask: str, answer: str) -> None:
        self.world.look(self.side(name), ask=ask, answer=answer)

    @rule(second=st.booleans())
    def see(self, second: bool) -> None:
        self.world.see(self.coordinator(second))

    @rule(second=st.booleans())
    def act(self, second: bool) -> None:
        self.world.act(self.coordinator(second))

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(name=SIDES)
    def work(self, name: str) -> None:
        self.world.claim(self.side(name))
        self.world.chunk(self.side(name))

    @rule()
    def ask(self) -> None:
        self.side("chat").chats += 1

    @rule()
    def serve(self) -> None:
        self.world.chat(self.side("chat"))

    @rule(key=st.sampled_from(["a", "b", "c"]))
    def submit(self, key: str) -> None:
        self.world.submit(key)

    @rule(name=SIDES, second=st.booleans(), seed=st.integers(0, 10_000))
    def go_wrong(self, name: str, second: bool, seed: int) -> None:
        self.world.random.seed(seed)
        fault(self.world, self.side(name), self.coordinator(second))

    @precondition(lambda self: self.world.coordinators)
    @invariant()
    def rules_hold(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.calm(900)


TestSharing = Sharing.TestCase
TestSharing.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("first", range(0, 800, 200))
def test_random_schedules(first: int) -> None:
    for seed in range(first, first + 200):
        schedule(seed)


def test_where_all_fits_nothing_swaps() -> None:
    """P9."""
    for seed in range(60):
        assert schedule(seed, {"chat": 40, "speech": 50}, faulty=False).parks() == 0


def test_three_that_take_turns() -> None:
    for seed in range(60):
        schedule(seed, {"chat": 60, "speech": 70, "notes": 50})


def test_swaps_are_bounded() -> None:
    """P10: however often it is asked, back and forth takes at least a linger."""
    world = World({"chat": 60, "speech": 70}, 3)
    for number in range(3000):
        if number % 3 == 0:
            world.sides["chat"].chats += 1
        world.submit(f"key-{number // 40}")
        world.everybody()
        world.wait(0.1)
    passed_s = 300
    assert world.parks() <= 2 * passed_s / LIMITS.linger_s
    assert world.parks() <= 2 * (passed_s / LIMITS.starve_s + 1) + 2


def test_background_is_never_starved() -> None:
    """P8: somebody at the keyboard all the time, and yet the task ends."""
    world = World({"chat": 60, "speech": 70}, 5)
    world.submit("patient")
    waited = 0.0
    while not any(world.results.values()) and waited < 4 * (LIMITS.starve_s + LIMITS.quantum_s):
        world.sides["chat"].chats += 1
        world.everybody()
        world.wait(0.1)
        waited += 0.1
    assert any(world.results.values())
    assert waited <= LIMITS.starve_s + LIMITS.quantum_s + 30


def violations(count: int = 250) -> int:
    found = 0
    for seed in range(count):
        try:
            schedule(seed)
        except Violation:
            found += 1
    return found


def test_the_model_notices_when_done_is_simply_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "is_free", lambda view, row: True)
    assert violations() > 0


def test_the_model_notices_when_memory_is_given_away_on_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "HOLDS_NOTHING", frozenset({"parked", "draining", "parking", "fencing", "unknown"}))
    assert violations() > 50


def test_the_model_notices_when_nobody_lets_go_without_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor goes on as if nothing were, and the coordinator trusts time alone."""
    monkeypatch.setattr(gpu_world, "SAFE", 1000.0)
    monkeypatch.setattr(gpu_world, "SILENCE_S", 10_000.0)
    monkeypatch.setattr(policy, "is_free", lambda view, row: True)
    assert violations() > 0


def test_a_liar_is_killed_and_the_other_served() -> None:
    """It says it let go and did not: only the end of its process helps (a rule that random schedules found)."""
    world = World({"chat": 60, "speech": 70}, 1)
    world.sides["chat"].chats, world.sides["chat"].lies = 1, True
    for number in range(600):
        world.everybody()
        if number == 50:
            world.submit("speech")
        world.wait(0.1)
    assert world.settled()
    assert any(change.command == "fence" for _, _, change in world.store.swaps)


def test_the_model_notices_when_old_words_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    believe = memory.heard
    monkeypatch.setattr(
        memory, "heard", lambda row, said, now: believe(row, dataclasses.replace(said, epoch=row.epoch), now)
    )
    assert violations(300) > 0


# -- single rules


def row(**values: object) -> HolderRow:
    return HolderRow("gemma", "d", 60, instance="i", epoch=4, **values)  # type: ignore[arg-type]


def test_only_a_command_raises_the_epoch() -> None:
    before = row(observed="parking", desired="parked", done_epoch=4)
    assert changed(before, Change("gemma", 4, "parked", "parked", ""), 1.0).epoch == 4
    assert changed(before, Change("gemma", 4, "fencing", "parked", "", command="fence"), 1.0).epoch == 5
    assert changed(before, Change("gemma", 4, "unknown", "parked", "", forget_instance=True), 1.0).instance is None


def test_a_new_instance_pays_for_what_the_old_one_holds() -> None:
    held = row(observed="resident", desired="resident", used_bytes=55)
    anew = ledger.registered(held, HolderRow("gemma", "d", 20, instance="j"), 1.0)
    assert (anew.observed, anew.reserved, anew.epoch, anew.instance) == ("fencing", 60, 5, "j")
    parked = ledger.registered(row(), HolderRow("gemma", "d", 20, instance="j"), 1.0)
    assert (parked.observed, parked.reserved) == ("parked", 0)


def test_what_is_measured_beats_what_was_said() -> None:
    said = ledger.Said("i", 4, "resident", used_bytes=75)
    assert ledger.heard(row(observed="resident", desired="resident"), said, 1.0).reserved == 75


def test_a_word_about_an_older_command_is_news_of_health_only() -> None:
    before = row(observed="draining", desired="parked")
    after = ledger.heard(before, ledger.Said("i", 3, "parked"), 9.0)
    assert (after.observed, after.heartbeat, after.done_epoch) == ("draining", 9.0, 0)


def test_an_old_reading_is_no_proof() -> None:
    """Found by a flaky test: what the device said before a kill tells nothing about what came after it."""
    killed = row(observed="fencing", desired="parked", used_bytes=60, commanded=10.0, done_at=12.0, done_epoch=4)
    seen = ledger.View("d", "fake", 100, 0, 13.0, (killed,), free_bytes=100, free_at=11.9)
    assert ledger.is_free(seen, killed) is False
    assert ledger.is_free(dataclasses.replace(seen, free_at=12.1), killed) is True
    assert ledger.is_free(dataclasses.replace(seen, free_at=12.1, free_bytes=80), killed) is False
    assert ledger.is_free(dataclasses.replace(seen, kind="cpu"), killed) is None
