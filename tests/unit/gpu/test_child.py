"""The model's process and the supervisor that looks after it; the model is the fake one, the processes are real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.gemma.settings import Settings
from shared.errors import ModelLost, ModelNotReady, ModelOutOfMemory, TooLarge
from shared.gpu.fake import FakeDevice
from shared.gpu.supervisor import ModelChild, resident_bytes
from tests.conftest import alive

HERE = "tests.unit.gpu.test_child"


def open_toy(settings: Any) -> dict[str, Any]:
    """In the child: what the tests below call."""

    def fail(how: str) -> None:
        if how == "large":
            raise TooLarge("3 tokens do not fit.")
        if how == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        raise ValueError("what a user wrote")

    return {
        "facts": lambda: {"model": settings.word},
        "fail": fail,
        "environment": lambda: dict(os.environ),
        "settings": lambda: dict(vars(settings)),
        "loudest": lambda sound, times: float(np.abs(sound).max()) * times,
        "count": lambda most: (number for number in range(most)),
    }


@pytest.fixture
async def toy() -> AsyncIterator[ModelChild]:
    made = ModelChild(f"{HERE}:open_toy", {"word": "toy"})
    yield made
    await made.kill()


async def test_it_is_called_and_streams(toy: ModelChild) -> None:
    await toy.wake()
    assert toy.facts == {"model": "toy"} and toy.alive
    sound = np.array([0.1, -0.5], dtype=np.float32)
    assert await toy.call("loudest", samples=("sound", sound), times=3) == pytest.approx(1.5)
    assert [piece async for piece in toy.stream("count", most=4)] == [0, 1, 2, 3]
    assert resident_bytes(toy.pid or 0) > 1_000_000 and toy.used_bytes() > 1_000_000


async def test_a_stream_is_stopped_and_the_next_call_answered(toy: ModelChild) -> None:
    await toy.wake()
    stream = toy.stream("count", most=50_000_000)
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    await stream.aclose()
    async with asyncio.timeout(20):
        assert await toy.call("loudest", samples=("sound", np.ones(1, dtype=np.float32)), times=1) == 1.0


async def test_errors_cross_as_themselves_and_foreign_ones_without_their_words(toy: ModelChild) -> None:
    await toy.wake()
    with pytest.raises(TooLarge, match="3 tokens"):
        await toy.call("fail", how="large")
    with pytest.raises(ModelOutOfMemory):
        await toy.call("fail", how="memory")
    with pytest.raises(ModelNotReady) as caught:
        await toy.call("fail", how="other")
    assert "user wrote" not in caught.value.detail and "status 503" not in caught.value.detail
    with pytest.raises(ModelNotReady):
        await toy.call("nothing of that name")
    with pytest.raises(ModelNotReady):
        await toy.call("loudest", wrong=1)


async def test_parked_it_holds_nothing_and_wakes_again(tmp_path: Path) -> None:
    device = FakeDevice.make(tmp_path / "gpu.json", 100)
    child = ModelChild("shared.gpu.fake:open_model", {"device_file": str(device.path), "bytes": 60})
    await child.wake()
    assert device.free_bytes() == 40
    await child.park()
    assert device.free_bytes() == 100 and child.alive
    with pytest.raises(ModelNotReady):
        await child.call("work", part=1)
    await child.wake()
    assert await child.call("work", part=1) == "part 1: 9e3779b1"
    await child.kill()
    assert device.free_bytes() == 100 and not child.alive


def open_parking(settings: Any) -> dict[str, Any]:
    """A model that keeps its weights when it is parked, and counts."""
    said = ["made"]
    return {
        "park": lambda: said.append("parked"),
        "wake": lambda: said.append("woken"),
        "said": lambda: said,
    }


async def test_a_model_that_keeps_its_weights_is_made_once() -> None:
    child = ModelChild(f"{HERE}:open_parking", {})
    await child.wake()
    await child.park()
    with pytest.raises(ModelNotReady):
        await child.call("said")
    await child.wake()
    await child.wake()
    assert await child.call("said") == ["made", "parked", "woken"]
    await child.kill()


async def test_out_of_memory_is_told_as_such(tmp_path: Path) -> None:
    device = FakeDevice.make(tmp_path / "gpu.json", 50)
    child = ModelChild("shared.gpu.fake:open_model", {"device_file": str(device.path), "bytes": 60})
    with pytest.raises(ModelOutOfMemory):
        await child.wake()
    assert device.free_bytes() == 50
    await child.kill()


async def test_killed_from_outside(toy: ModelChild) -> None:
    await toy.wake()
    told = asyncio.Event()
    toy.on_death = told.set
    waiting = asyncio.create_task(toy.call("loudest", samples=("sound", np.zeros(10**7, dtype=np.float32)), times=1))
    stream = toy.stream("count", most=50_000_000)
    await anext(stream)
    assert toy.pid is not None
    os.kill(toy.pid, signal.SIGKILL)
    with pytest.raises(ModelLost):
        async for _ in stream:
            pass
    with pytest.raises(ModelLost):
        await waiting
    await asyncio.wait_for(told.wait(), 10)
    with pytest.raises(ModelLost):
        await toy.call("loudest")
    await toy.wake()
    assert toy.alive


async def test_an_opener_that_is_not_there() -> None:
    child = ModelChild("shared.gpu.nowhere:open", {})
    with pytest.raises(ModelLost):
        await child.wake()
    await child.kill()


async def test_the_child_knows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    canary = "kAnarienvogel-0123456789-abcdefghijklmnop"
    for name in ("RAG_DB_KEY", "DATABASE_URL", "REDIS_URL", "POSTGRES_PASSWORD"):
        monkeypatch.setenv(name, canary)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    settings = Settings()
    assert settings.rag_db_key is not None and settings.rag_db_key.get_secret_value() == canary
    child = ModelChild(f"{HERE}:open_toy", settings.plain() | {"word": "toy"})
    await child.wake()
    assert canary not in str(await child.call("environment")) + str(await child.call("settings"))
    assert (await child.call("settings"))["models_dir"] == str(settings.models_dir)
    process = Path(f"/proc/{child.pid}")
    assert canary.encode() not in (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    await child.kill()


async def test_it_ends_with_its_supervisor(tmp_path: Path) -> None:
    """Killed as hard as can be, the supervisor leaves no model behind."""
    script = tmp_path / "supervisor.py"
    script.write_text(
        "import asyncio, sys\n"
        "from shared.gpu.supervisor import ModelChild\n"
        "async def main():\n"
        f"    child = ModelChild('{HERE}:open_toy', {{'word': 'toy'}})\n"
        "    await child.wake()\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    async with asyncio.timeout(60):
        while alive(pid):
            await asyncio.sleep(0.05)


async def test_without_a_pulse_it_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that is frozen cannot kill it, so it does not outlive the lease."""
    monkeypatch.setattr("shared.gpu.supervisor.PULSE_S", 1000.0)
    child = ModelChild(f"{HERE}:open_toy", {"word": "toy"})
    await child.wake()
    ended = asyncio.Event()
    child.on_death = ended.set
    await asyncio.wait_for(ended.wait(), 30)
    assert not child.alive
    await child.kill()


async def test_an_answer_beyond_all_bounds_ends_the_child(toy: ModelChild) -> None:
    """A model's process that lost its mind must not take the service's memory with it."""
    await toy.wake()
    assert toy._writer is not None
    ours, theirs = socket.socketpair()
    reader, _ = await asyncio.open_connection(sock=ours)
    theirs.sendall(struct.pack("!II", 2**31, 0))
    assert toy._process is not None
    async with asyncio.timeout(10):
        await toy._read(reader, toy._process)
    assert not toy.alive
    theirs.close()
