"""A whole world of sharing in one thread: the real ledger, policy and reconcilers on a device and a bus that misbehave.

Time is a number. Messages are lost, doubled and delayed; processes die, freeze and lie; the coordinator is killed and
comes back, also as two. Only the input and output around the product's own decisions are written here.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from services.gpu_coordinator.ledger import Backlog, HolderRow, Limits, Said, View
from services.gpu_coordinator.memory import MemoryHolders, MemoryTaskStore
from services.gpu_coordinator.policy import decide
from services.gpu_coordinator.settings import Settings
from shared.errors import Conflict, StaleInstance
from shared.gpu.child import SILENCE_S
from shared.gpu.holder import SAFE
from shared.gpu.reconcile import Reconciler
from shared.schemas.coordinator import FinishTask, HolderGrant, ReportTask, SubmitTask, Task
from shared.schemas.gpu import DeviceKind, Holder

TOTAL = 100
LIMITS = Limits(linger_s=2.0, starve_s=60.0, quantum_s=5.0, verify_s=10.0, retry_s=20.0)
PARTS = 4
LEAD_S = 10.0


def now_(work: Coroutine[Any, Any, Any]) -> Any:
    """The twins never really wait."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


@dataclass
class Process:
    """Of a model; what it holds stays taken for a while after its death."""

    holder: str
    held: int = 0
    alive: bool = True
    died: float = 0.0
    reclaim_s: float = 0.0


@dataclass
class Run:
    """A worker at one task."""

    task: Task
    done: list[int]
    grant: HolderGrant


@dataclass
class Side:
    """One service: supervisor, model and worker."""

    name: str
    size: int
    kinds: tuple[str, ...] = ()
    state: Reconciler = field(default_factory=Reconciler)
    instance: str = ""
    lease_until: float = 0.0
    process: Process | None = None
    work: tuple[str, float] | None = None
    frozen: bool = False
    frozen_at: float = 0.0
    both: bool = False
    """Its model's process is frozen with it, so that no watchdog runs."""
    lies: bool = False
    chats: int = 0
    served: int = 0
    runs: list[Run] = field(default_factory=list)


@dataclass
class Coordinator:
    """Looks, thinks for a while, acts on what it saw."""

    name: str
    alive: bool = True
    epoch: int | None = None
    view: View | None = None
    reading: tuple[int, float] = (0, 0.0)
    """Free bytes and when that was seen: the device is asked beside the decisions, so it may be long ago."""


class Violation(AssertionError):
    """A rule of the design was broken."""


class World:
    def __init__(self, sizes: dict[str, int], seed: int = 0, kind: DeviceKind = "fake") -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self.host = kind == "cpu"
        empty = View("fake", kind, TOTAL, 0, self.now)
        self.store = MemoryHolders(lambda: self.now, empty)
        self.tasks = MemoryTaskStore(Settings(lease_s=30), self.store, lambda: self.now)
        self.sides = {name: Side(name, size, ("speech",) if name != "chat" else ()) for name, size in sizes.items()}
        self.processes: list[Process] = []
        self.coordinators = [Coordinator("one"), Coordinator("two")][: self.random.choice([1, 2])]
        self.late: list[tuple[float, Side, Said]] = []
        self.results: dict[str, list[str]] = {}
        self.accepted: dict[str, str] = {}
        self.submitted: dict[str, float] = {}
        self.instances = 0
        self.epochs: dict[str, int] = {}
        self.ooms = 0

    # -- the device

    def physical(self, name: str | None = None) -> int:
        return sum(
            each.held
            for each in self.processes
            if name in (None, each.holder) and (each.alive or self.now - each.died < each.reclaim_s)
        )

    @property
    def free(self) -> int:
        return TOTAL - self.physical()

    # -- the clock

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for at, side, said in [each for each in self.late if each[0] <= self.now]:
            self.late.remove((at, side, said))
            self.deliver(side, said)
        for side in self.sides.values():
            self.progress(side)
        for task in now_(self.tasks.recover()):
            del task
        self.check()

    # -- a service's side

    def progress(self, side: Side) -> None:
        """What the supervisor's loop does without any message."""
        if side.frozen:
            if side.process is not None and not side.both and self.now - side.frozen_at > SILENCE_S:
                side.process.alive, side.process.died = False, self.now  # its own watchdog
            return
        if side.process is not None and not side.process.alive:
            self.kill_model(side)
            if side.state.phase != "parked":
                side.state.parked("lost")
        if side.instance and self.now >= side.lease_until:
            self.kill_model(side)
            side.state.fenced()
            side.instance = ""
        if side.work is not None and self.now >= side.work[1]:
            self.complete(side)

    def complete(self, side: Side) -> None:
        assert side.work is not None
        what, side.work = side.work[0], None
        if what == "park":
            if side.process is not None and not side.lies:
                side.process.held = 0
            side.state.parked()
            return
        if self.free < side.size:
            self.ooms += 1
            self.kill_model(side)
            side.state.parked("out_of_memory")
            return
        if side.process is None or not side.process.alive:
            side.process = Process(side.name, reclaim_s=0 if self.host else self.random.choice([0, 0, 1, 16]))
            self.processes.append(side.process)
        side.process.held = side.size
        side.state.woken()

    def kill_model(self, side: Side) -> None:
        side.work, side.runs = None, []
        if side.process is not None and side.process.alive:
            side.process.alive, side.process.died = False, self.now
        side.process = None

    def look(self, side: Side, *, ask: str = "ok", answer: str = "ok") -> None:
        """One turn of the supervisor's loop; `ask` and `answer` may be lost, late or doubled on the way."""
        if side.frozen:
            return
        self.progress(side)
        if not side.instance:
            self.register(side, answer)
            return
        self.begin(side)
        row = side.state.row
        assert row is not None
        wants = "interactive" if side.chats else None
        used = side.process.held if side.process is not None and side.process.alive else 0
        said = Said(side.instance, row.epoch, side.state.phase, used, wants, False, side.state.error)  # type: ignore[arg-type]
        asked = self.now
        if ask == "lost":
            return
        if ask in ("late", "doubled"):
            self.late.append((self.now + self.random.choice([0.5, 3, 60]), side, said))
        if ask == "late":
            return
        heard = self.deliver(side, said)
        if heard is None:
            self.kill_model(side)
            side.state.fenced()
            side.instance = ""
        elif answer == "ok":
            side.lease_until = asked + LIMITS.lease_s * SAFE
            side.state.obey(heard, self.now)
            self.begin(side)

    def register(self, side: Side, answer: str) -> None:
        self.instances += 1
        instance = f"{side.name}-{self.instances}"
        row = self.store.register(HolderRow(side.name, "fake", side.size, 0, kinds=side.kinds, instance=instance))
        if answer == "ok":
            side.instance, side.lease_until = instance, self.now + LIMITS.lease_s * SAFE
            side.state.fenced()
            side.state.obey(wire(row, self.now), self.now)

    def deliver(self, side: Side, said: Said) -> Holder | None:
        try:
            return wire(self.store.sync(side.name, said), self.now)
        except StaleInstance:
            return None

    def begin(self, side: Side) -> None:
        step = side.state.step(busy=bool(side.runs), working=side.work is not None, alive=side.process is not None,
                               now=self.now)  # fmt: skip
        if step == "kill":
            self.kill_model(side)
            side.state.parked()
        elif step is not None:
            side.state.begun(step)
            side.work = (step, self.now + self.random.choice([0.05, 0.3, 1.0]))

    # -- work

    def submit(self, key: str) -> None:
        task, _ = now_(self.tasks.submit(SubmitTask(kind="speech", idempotency_key=key, max_attempts=20)))
        if self.accepted.setdefault(key, task.task_id) != task.task_id:
            raise Violation("P11 one key, two tasks")
        self.results.setdefault(task.task_id, [])
        self.submitted.setdefault(task.task_id, self.now)

    def claim(self, side: Side) -> None:
        row = side.state.row
        if side.frozen or not side.kinds or not side.state.turn or row is None or side.runs:
            return
        by = HolderGrant(holder_id=side.name, device_id="fake", instance=side.instance, epoch=row.epoch)
        task = now_(self.tasks.claim(["speech"], side.name, by))
        if task is not None:
            begun = (task.cursor or {}).get("parts", [])
            side.runs.append(Run(task, list(begun), by))

    def chunk(self, side: Side) -> None:
        """One part of each task in hand; the worker checks its turn between parts, as the product's does."""
        if side.frozen:
            return
        for run in list(side.runs):
            try:
                if not side.state.turn:
                    now_(self.tasks.finish(run.task.task_id, FinishTask(token=run.task.token, outcome="released")))
                    side.runs.remove(run)
                    continue
                if side.process is None or not side.process.alive or side.process.held < side.size:
                    raise Violation("computes without its memory")
                run.done.append(len(run.done))
                if len(run.done) < PARTS:
                    report = ReportTask(token=run.task.token, cursor={"parts": run.done})
                    now_(self.tasks.report(run.task.task_id, report))
                    continue
                finish = FinishTask(token=run.task.token, outcome="succeeded", result={"parts": run.done})
                now_(self.tasks.finish(run.task.task_id, finish))
                self.results[run.task.task_id].append(str(run.done))
            except Conflict:
                pass
            side.runs = [each for each in side.runs if each is not run]

    def chat(self, side: Side) -> None:
        """Serve what waits at the keyboard, where the model is there."""
        if side.state.ready and not side.frozen and self.now < side.lease_until:
            if side.process is None or side.process.held < side.size:
                raise Violation("answers without its memory")
            side.served += side.chats
            side.chats = 0

    # -- the coordinator

    def see(self, who: Coordinator, *, old: bool = False) -> None:
        if who.alive:
            who.epoch = self.store.lead(who.name, LEAD_S)
            self.backlog()
            if not old:
                who.reading = (self.free, self.now)
            who.view = self.store.view(*who.reading) if who.epoch is not None else None

    def act(self, who: Coordinator) -> None:
        if not who.alive or who.view is None or who.epoch is None:
            return
        view, who.view = who.view, None
        for change in decide(view, LIMITS):
            self.store.apply(who.epoch, change)
        self.check()

    def backlog(self) -> None:
        tasks = now_(self.tasks.page(None, 1000, None, None))
        waiting = [each for each in tasks if each.state == "queued"]
        running = [each for each in tasks if each.state in ("running", "preempting")]
        for side in self.sides.values():
            if side.kinds:
                oldest = min((self.submitted[each.task_id] for each in waiting), default=None)
                self.store.backlog[side.name] = Backlog(len(waiting), len(running), oldest)

    # -- the rules

    def check(self) -> None:
        if self.physical() > TOTAL:
            raise Violation("P1 more memory than there is")
        if sum(row.reserved for row in self.store.rows.values()) < self.physical():
            raise Violation("P2 more is held than is charged")
        # Where one reservation is given up for lost, what another holds may be put down to it, and is charged there.
        unclear = any(row.observed == "quarantined" for row in self.store.rows.values())
        for name, row in self.store.rows.items():
            if row.reserved < self.physical(name) and not unclear:
                raise Violation(f"P2 {name} holds {self.physical(name)} and is charged {row.reserved}")
            if row.observed == "parked" and self.physical(name) > 0.2 * row.bytes_resident and not unclear:
                raise Violation("P4, P13 let go while it is held")
            if row.epoch < self.epochs.get(name, 0):
                raise Violation("P5 an epoch fell")
            self.epochs[name] = row.epoch
        if sum(row.reserved for row in self.store.rows.values()) > TOTAL:
            raise Violation("P1 more given than there is")
        for task_id, results in self.results.items():
            if len(results) > 1:
                raise Violation("P3, P6 finished twice")
            if results and results[0] != str(list(range(PARTS))):
                raise Violation(f"P7 {task_id} ended as {results[0]}")

    def everybody(self) -> None:
        """Each has its turn once, and nothing goes wrong."""
        for who in self.coordinators:
            self.see(who)
            self.act(who)
        for side in self.sides.values():
            self.look(side)
            self.look(side)
            self.chat(side)
            self.claim(side)
            self.chunk(side)

    def calm(self, seconds: float) -> None:
        """No more faults: whatever waits has to be served now (P6, P8, P12)."""
        for side in self.sides.values():
            side.frozen = side.lies = False
        for who in self.coordinators:
            who.alive = True
        end = self.now + seconds
        while self.now < end and not self.settled():
            self.everybody()
            self.wait(0.1)
        if not self.settled():
            rows = {name: (row.observed, row.why) for name, row in self.store.rows.items()}
            raise Violation(f"P6, P8 stuck: {rows}, {[each.chats for each in self.sides.values()]}")

    def settled(self) -> bool:
        ended = all(len(self.results[each]) == 1 for each in self.accepted.values())
        return ended and not any(each.chats for each in self.sides.values())

    def parks(self) -> int:
        return sum(1 for _, _, change in self.store.swaps if change.command == "park")


def wire(row: HolderRow, now: float) -> Holder:
    values = {name: getattr(row, name) for name in Holder.model_fields if hasattr(row, name)}
    left_ms = None if row.deadline is None else max(0, int((row.deadline - now) * 1000))
    return Holder.model_construct(**values | {"deadline_ms": left_ms, "lease_s": LIMITS.lease_s})


FAULTS = ("lost", "late", "doubled")


def random_step(world: World, faulty: bool) -> None:
    """One event of a schedule."""
    dice, side = world.random, world.random.choice(list(world.sides.values()))
    who = dice.choice(world.coordinators)
    what = dice.random()
    if what < 0.30:
        ask = dice.choice(FAULTS) if faulty and dice.random() < 0.3 else "ok"
        world.look(side, ask=ask, answer="lost" if faulty and dice.random() < 0.15 else "ok")
    elif what < 0.42:
        world.see(who, old=dice.random() < 0.3)
    elif what < 0.55:
        if who is not world.coordinators[0] or len(world.coordinators) == 1 or dice.random() < 0.15:
            world.act(who)  # of two, the first is slow: it acts on what it saw long ago
    elif what < 0.72:
        world.wait(dice.choice([0.05, 0.1, 0.3, 1.0, 4.0] if dice.random() < 0.97 else [20.0]))
    elif what < 0.80:
        world.claim(side)
        world.chunk(side)
    elif what < 0.84:
        world.chat(side)
    elif what < 0.88 and not side.kinds:
        side.chats += 1
    elif what < 0.90:
        world.submit(f"key-{dice.randrange(3)}")
    elif faulty:
        fault(world, side, who)


def fault(world: World, side: Side, who: Coordinator) -> None:
    what = world.random.randrange(8)
    if what == 0:
        side.frozen, side.frozen_at = not side.frozen, world.now
        side.both = not world.host and world.random.random() < 0.5
    elif what == 1:
        died = side.process
        if died is not None and died.alive and not side.frozen:
            world.kill_model(side)
            if side.state.phase != "parked":
                side.state.parked("lost")
    elif what == 2:  # the whole service dies and is started again: the kernel takes the model with it
        world.kill_model(side)
        side.state, side.instance, side.frozen = Reconciler(), "", False
    elif what == 3 and not world.host:
        side.lies = not side.lies
    elif what == 4:
        who.alive = not who.alive
        who.view = who.view if who.alive else None
    elif what == 5 and side.instance:  # a word of long ago comes back
        phase = world.random.choice(["parked", "resident", "draining"])
        epoch = max(0, world.epochs.get(side.name, 0) - world.random.choice([1, 1, 2]))
        world.late.append((world.now + world.random.random(), side, Said(side.instance, epoch, phase)))
    elif what == 6 and not world.host and side.process is not None and side.process.alive:
        side.process.reclaim_s = 16.0
    elif what == 7:
        world.wait(16.0)


def schedule(seed: int, sizes: dict[str, int] | None = None, steps: int = 120, *, faulty: bool = True) -> World:
    """One random schedule, then calm. Raises Violation."""
    world = World(sizes or {"chat": 60, "speech": 70}, seed, "cpu" if seed % 4 == 0 else "fake")
    for _ in range(steps):
        random_step(world, faulty)
    world.calm(900)
    return world
