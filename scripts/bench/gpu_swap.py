#!/usr/bin/env python3
"""Two models take turns on one GPU: how long a park and a wake take, and whether the memory is really free between.

    python scripts/bench/gpu_swap.py [--turns 200] [--size-a 2.5] [--size-b 1.2]

Needs PyTorch and a CUDA device, and nothing else. Each model lives in a process with a CUDA context of its own and
computes without a pause while it is resident, so a pause always meets a busy holder. A turn: pause one holder, see by
the device's own count that its memory is free, resume the other. After each wake the holder's first answer must equal,
bit for bit, the one it gave at its start.

The wake is set against a bare copy of as many bytes from torch's page-locked memory to memory already allocated, timed
in a process of its own before and after the turns. `--device cpu` runs the same protocol without a GPU; it takes the
holders' word for the memory, and its times say nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import multiprocessing
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from figures import ROOT, Figure, p, tell

DRIVER = ROOT / "services" / "transcription" / "engines" / "torch_weights.py"
SPAWN = multiprocessing.get_context("spawn")
START_S = 300.0
DEADLINE_S = 10.0
RISE_S = 2.0
"""How long after "done" the device's free memory may take to rise."""
RISE_PART = 0.8
COPIES = 10
SETTLED = 10
"""Turns until every library has taken what it keeps."""
GB = 10**9


class Failed(Exception):
    """A holder broke the protocol, gave a wrong answer, or lied about its memory."""


@dataclass(frozen=True)
class Plan:
    """What a holder needs to know; `size` in bytes."""

    name: str
    size: int
    device: str
    width: int
    seed: int


# ---- the holder's process


def hold(pipe: Connection, plan: Plan) -> None:
    """The child: one thread acknowledges each command at once, the other obeys and computes in between."""
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    try:
        holder = Holder(pipe, plan)
        threading.Thread(target=_listen, args=(pipe, commands), daemon=True).start()
        while (command := holder.next(commands))["do"] != "end":
            holder.obey(command)
        holder.weights.close()
    except Exception as error:
        pipe.send({"phase": "failed", "why": f"{type(error).__name__}: {error}"})
        raise


def _listen(pipe: Connection, commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    try:
        while True:
            command = pipe.recv()
            pipe.send({"phase": "received", "epoch": command["epoch"]})
            commands.put(command)
    except (EOFError, OSError):
        commands.put({"do": "end"})


class Holder:
    """One model, its weights' driver, and the answer it must give each time."""

    def __init__(self, pipe: Connection, plan: Plan) -> None:
        import torch

        self._pipe, self._device = pipe, plan.device
        torch.manual_seed(plan.seed)
        self._model = model(plan)
        self.weights = driver().PinnedWeights(self._model)
        self._input = torch.randn(8, plan.width, dtype=torch.float32).half()
        self.weights.wake(plan.device)
        self._expected = self.answer()
        self.weights.park()
        self._tell(0, "ready")

    def next(self, commands: queue.SimpleQueue[dict[str, Any]]) -> dict[str, Any]:
        """Computes while resident until a command is there."""
        while self.weights.resident and commands.empty():
            self._compute()
        return commands.get()

    def obey(self, command: dict[str, Any]) -> None:
        began = time.perf_counter()
        if command["do"] == "pause":
            self.weights.park()
        else:
            self.weights.wake(self._device)
        self._tell(command["epoch"], "done", took_ms=(time.perf_counter() - began) * 1000)
        if command["do"] == "resume":
            self._tell(command["epoch"], "checked", right=self.answer() == self._expected)

    def answer(self) -> str:
        """A digest of the model's output for the one input."""
        import torch

        return hashlib.sha256(bytes(self._compute().view(torch.uint8).flatten().tolist())).hexdigest()

    def _compute(self) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(self._input.to(self._device)).cpu()

    def _tell(self, epoch: int, phase: str, **more: Any) -> None:
        resident = self.weights.nbytes if self.weights.resident else 0
        self._pipe.send({"phase": phase, "epoch": epoch, "nbytes": self.weights.nbytes, "resident": resident, **more})


def driver() -> Any:
    """torch_weights.py by its path: the packages around it need what a bare machine lacks."""
    spec = importlib.util.spec_from_file_location("torch_weights", DRIVER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def model(plan: Plan) -> Any:
    """Linear layers in fp16 of about `plan.size` bytes, built on the device because a host takes minutes for them."""
    import torch

    class Layer(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.layer_norm(x + super().forward(x), x.shape[-1:])  # or fp16 fades to zero

    depth = max(1, round(plan.size / (2 * plan.width * (plan.width + 1))))
    layers = [Layer(plan.width, plan.width, dtype=torch.float16, device=plan.device) for _ in range(depth)]
    return torch.nn.Sequential(*layers).eval()


# ---- the bare copy


def copies(pipe: Connection, nbytes: int, device: str) -> None:
    """A child: seconds of each of COPIES bare copies of so many bytes, the first thrown away."""
    import torch

    source = torch.ones(nbytes, dtype=torch.uint8, pin_memory=device != "cpu")
    target = torch.empty(nbytes, dtype=torch.uint8, device=device)
    pipe.send([_timed(lambda: target.copy_(source, non_blocking=True), device) for _ in range(COPIES + 1)][1:])


def _timed(work: Callable[[], object], device: str) -> float:
    import torch

    began = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def bare(nbytes: int, device: str) -> list[float]:
    """Seconds per copy, from a process that leaves nothing behind on the device."""
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=copies, args=(theirs, nbytes, device), daemon=True)
    child.start()
    theirs.close()
    try:
        return list(_receive(ours, START_S))
    finally:
        child.join(DEADLINE_S)


# ---- the parent


def _receive(pipe: Connection, seconds: float) -> Any:
    if not pipe.poll(seconds):
        raise Failed(f"no answer within {seconds:g} s")
    try:
        return pipe.recv()
    except (EOFError, OSError) as error:
        raise Failed("the process ended without an answer") from error


@dataclass
class Peer:
    """The parent's side of a holder; times in milliseconds, since the command was sent."""

    plan: Plan
    pipe: Connection
    nbytes: int = 0
    resident: int = 0
    received: list[float] = field(default_factory=list)
    parks: list[float] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    frees: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    """What the driver alone took for each wake."""

    def expect(self, phase: str, epoch: int, seconds: float = DEADLINE_S) -> dict[str, Any]:
        reply: dict[str, Any] = _receive(self.pipe, seconds)
        if reply["phase"] == "failed":
            raise Failed(f"holder {self.plan.name}: {reply['why']}")
        if (reply["phase"], reply["epoch"]) != (phase, epoch):
            raise Failed(f"holder {self.plan.name}: expected {phase} of epoch {epoch}, got {reply}")
        self.nbytes, self.resident = reply.get("nbytes", self.nbytes), reply.get("resident", self.resident)
        return reply

    def command(self, do: str, epoch: int) -> tuple[float, dict[str, Any]]:
        """When it was sent, and the "done"."""
        sent = time.perf_counter()
        self.pipe.send({"do": do, "epoch": epoch})
        self.expect("received", epoch)
        self.received.append(_since(sent))
        return sent, self.expect("done", epoch)


def _since(sent: float) -> float:
    return (time.perf_counter() - sent) * 1000


class Stage:
    """The device as the parent sees it, and the two who share it."""

    def __init__(self, device: str, peers: Sequence[Peer]) -> None:
        self.device, self.peers = device, peers
        self.empty = self.used()
        self.peak = 0
        self.parked: list[int] = []
        """Used bytes of the device in each turn while both are parked."""
        self._epoch = 0

    def used(self) -> int:
        """Bytes, by the device's own count."""
        if self.device == "cpu":
            return sum(peer.resident for peer in self.peers)
        import torch

        free, total = torch.cuda.mem_get_info(self.device)
        return int(total - free)

    def resume(self, peer: Peer) -> None:
        self._epoch += 1
        sent, done = peer.command("resume", self._epoch)
        peer.wakes.append(_since(sent))
        peer.inside.append(done["took_ms"])
        if not peer.expect("checked", self._epoch)["right"]:
            raise Failed(f"holder {peer.plan.name} answered otherwise after wake {len(peer.wakes)}")
        self.peak = max(self.peak, self.used())

    def pause(self, peer: Peer) -> None:
        self._epoch += 1
        before = self.used()
        sent, _ = peer.command("pause", self._epoch)
        peer.parks.append(_since(sent))
        self._verify(peer, before)
        peer.frees.append(_since(sent))
        self.parked.append(self.used())

    def _verify(self, peer: Peer, before: int) -> None:
        until = time.perf_counter() + RISE_S
        while (rise := before - self.used()) < RISE_PART * peer.nbytes:
            if time.perf_counter() > until:
                raise Failed(f"holder {peer.plan.name} said done, but of {peer.nbytes} bytes only {rise} are free")
            time.sleep(0.001)


@contextmanager
def holders(plans: Sequence[Plan]) -> Iterator[list[Peer]]:
    """Started one after the other and parked; ended with the block."""
    children: list[tuple[Any, Peer]] = []
    try:
        for plan in plans:
            children.append(_start(plan))
            children[-1][1].expect("ready", 0, START_S)
        yield [peer for _, peer in children]
    finally:
        for child, peer in children:
            peer.pipe.close()
            child.join(DEADLINE_S)
            child.kill()


def _start(plan: Plan) -> tuple[Any, Peer]:
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=hold, args=(theirs, plan), name=plan.name, daemon=True)
    child.start()
    theirs.close()
    return child, Peer(plan, ours)


def play(plans: Sequence[Plan], turns: int) -> tuple[Stage, list[list[float]]]:
    """What was seen, and the seconds of each holder's bare copies."""
    device = plans[0].device
    with holders(plans) as peers:
        before = [bare(peer.nbytes, device) for peer in peers]
        stage = Stage(device, peers)
        stage.resume(peers[0])
        for turn in range(turns):
            stage.pause(peers[turn % 2])
            stage.resume(peers[(turn + 1) % 2])
    after = [bare(peer.nbytes, device) for peer in peers]
    return stage, [one + other for one, other in zip(before, after, strict=True)]


# ---- figures


def of_holder(peer: Peer, copy_s: Sequence[float]) -> list[Figure]:
    name = f"holder {peer.plan.name}"
    rate = peer.nbytes / statistics.median(copy_s)
    floor_ms = peer.nbytes / rate * 1000
    alone = f"of {len(peer.wakes)}; the driver alone, median {p(peer.inside, 0.5):.1f} ms"
    return [
        Figure(f"{name}: weights, bytes", peer.nbytes),
        *(Figure(f"{name}: wake p{n}, ms", round(p(peer.wakes, n / 100), 1), "", alone) for n in (50, 95, 99)),
        Figure(f"{name}: bare copy host to device, GB/s", round(rate / GB, 2), "", f"median of {len(copy_s)}"),
        Figure(
            f"{name}: wake / bare copy",
            round(p(peer.wakes, 0.5) / floor_ms, 3),
            "at most 1.5",
            f"median wake, from command to done, over {floor_ms:.1f} ms",
        ),
        *_spread(f"{name}: park done", peer.parks, "below 400 ms", "from command to done, the pass under way included"),
    ]


def of_both(stage: Stage) -> list[Figure]:
    received = [ms for peer in stage.peers for ms in peer.received]
    frees = [ms for peer in stage.peers for ms in peer.frees]
    settled = stage.parked[min(SETTLED, len(stage.parked)) - 1]
    return [
        *_spread(
            "command received", received, "below 100 ms", "a pause meets a computing holder, a resume an idle one"
        ),
        *_spread("memory free, seen from outside", frees, "", f"at least {RISE_PART} of the weights, since the pause"),
        Figure("peak of used device memory, bytes", stage.peak, "", f"{stage.empty} with both parked, before turn 1"),
        Figure(
            "growth of used device memory, bytes",
            stage.parked[-1] - settled,
            "0",
            f"both parked, turn {min(SETTLED, len(stage.parked))} to {len(stage.parked)}; {about(stage.device)}",
        ),
    ]


def _spread(what: str, ms: Sequence[float], goal: str, detail: str) -> list[Figure]:
    """The goal stands at p95."""
    return [
        Figure(f"{what} p{n}, ms", round(p(ms, n / 100), 2), goal if n == 95 else "", f"of {len(ms)}; {detail}")
        for n in (50, 95, 99)
    ]


def about(device: str) -> str:
    import torch

    if device == "cpu":
        return f"no GPU, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name(device)}, driver {_driver_version()}, torch {torch.__version__}"


def _driver_version() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


# ---- the command


def lacking(device: str) -> str:
    """One sentence on what is missing for this device, or nothing."""
    try:
        import torch
    except ImportError:
        return "PyTorch is missing: install torch, built for CUDA."
    if device != "cpu" and not torch.cuda.is_available():
        return f"No CUDA device: torch {torch.__version__} finds none; --device cpu runs the protocol without one."
    return ""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--turns", type=int, default=200, help="swaps to make, at least 1 (default %(default)s)")
    parser.add_argument("--size-a", type=float, default=2.5, help="GB of weights of holder A (default %(default)s)")
    parser.add_argument("--size-b", type=float, default=1.2, help="GB of weights of holder B (default %(default)s)")
    parser.add_argument("--width", type=int, default=4096, help="of the linear layers (default %(default)s)")
    parser.add_argument("--device", default="cuda:0", help="a CUDA device, or cpu (default %(default)s)")
    given = parser.parse_args(arguments)
    if min(given.turns, given.size_a, given.size_b, given.width) <= 0:
        parser.error("turns, sizes and width must be above 0")
    return given


def main() -> int:
    given = parse()
    if missing := lacking(given.device):
        print(missing, file=sys.stderr)
        return 2
    sizes = {"A": given.size_a, "B": given.size_b}
    plans = [Plan(name, int(gb * GB), given.device, given.width, seed=n) for n, (name, gb) in enumerate(sizes.items())]
    try:
        stage, copied = play(plans, given.turns)
    except (Failed, OSError) as error:
        print(f"gpu_swap: {error}", file=sys.stderr)
        return 1
    told = [figure for peer, took in zip(stage.peers, copied, strict=True) for figure in of_holder(peer, took)]
    tell([*told, *of_both(stage)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
