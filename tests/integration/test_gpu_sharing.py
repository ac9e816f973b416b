"""Two models that do not fit together take turns, chat first, and nothing is lost: the design's fifteen faults.

Real coordinators, supervisors and model processes over real PostgreSQL and Redis; only the device is a file.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from services.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from shared.gpu.fake import FakeDevice
from tests.conftest import _started
from tests.integration.gpu_house import GB, PATIENT, GpuHouse, HolderProcess, tokens, until, whole
from tests.integration.transcription_house import database

Make = Callable[..., GpuHouse]


@pytest.fixture
def make(tmp_path: Path, postgres_server: str, redis_url: str) -> Iterator[Make]:
    made: list[GpuHouse] = []

    def start(**options: Any) -> GpuHouse:
        urls = {"database_url": database(postgres_server), "redis_url": redis_url} | {
            name: options.pop(name) for name in ("database_url", "redis_url") if name in options
        }
        house = GpuHouse(tmp_path, urls["database_url"], urls["redis_url"], **options)
        made.append(house)
        house.start("gpu-coordinator")
        return house

    yield start
    for house in made:
        house.stop()


@pytest.fixture
def house(make: Make) -> GpuHouse:
    return make()


def at_work(house: GpuHouse, parts: int = 40, seconds: float = 0.1) -> tuple[HolderProcess, str]:
    """Speech in the middle of a task."""
    speech = house.holder("transcription")
    task_id = house.submit(parts, seconds)
    house.is_state("transcription", "resident")
    until(lambda: (house.task(task_id)["cursor"] or "{}") != "{}")
    return speech, task_id


def ended_well(house: GpuHouse, task_id: str, parts: int = 40, attempts: int = 1) -> None:
    done = house.finished(task_id)
    assert (done["state"], done["result"]["text"]) == ("succeeded", whole(parts))
    assert done["attempt"] <= attempts
    ends = house.sql("SELECT count(*) AS n FROM task_event WHERE task_id = $1 AND state = 'succeeded'", task_id)
    assert ends[0]["n"] == 1
    assert house.device.peak() <= house.device.total


def test_chat_pre_empts_speech_which_ends_as_if_nothing_had_been(house: GpuHouse) -> None:
    _, task_id = at_work(house)
    chat = house.holder("gemma")
    assert chat.chat(tokens=20)["text"] == tokens(20)
    assert house.swaps("park") >= 1
    ended_well(house, task_id)
    status = house.status()
    assert {each["holder_id"] for each in status["holders"]} == {"gemma", "transcription"}
    assert {each["what"] for each in status["last_swaps"]} >= {"wake", "park"}
    swap = next(each for each in status["last_swaps"] if each["what"] == "park")
    assert swap["received_ms"] <= swap["done_ms"] <= swap["free_ms"] and swap["bytes"] > 0


def test_what_fits_together_never_swaps(make: Make) -> None:
    """P9, and the second half of fault 14."""
    house = make(total=20 * GB)
    _, task_id = at_work(house)
    chat = house.holder("gemma")
    for _ in range(20):
        assert chat.chat(tokens=3)["text"] == tokens(3)
    ended_well(house, task_id)
    assert house.swaps("park") == 0 and house.swaps("wake") == 2
    until(lambda: house.swaps("turn") >= 2)  # the memory stays; who computes changes hands


def test_1_without_any_pub_sub(make: Make) -> None:
    house = make()
    house.holder("transcription", 6 * GB, "deaf")
    task_id = house.submit(20, 0.1)
    until(lambda: (house.task(task_id)["cursor"] or "{}") != "{}")
    assert house.holder("gemma", 6 * GB, "deaf").chat()["text"] == tokens(5)
    ended_well(house, task_id, 20)


def test_2_doubled_old_and_broken_words_on_the_channels(house: GpuHouse) -> None:
    _, task_id = at_work(house)
    row = house.row("transcription")
    words = [
        b"", b"pause", b"{", b"[]", b"null", b'"x"', b'{"v": 2}', b'{"v":1,"device":"d","epoch":-5,"instance":""}',
        b'{"v":1,"device":"%s","epoch":1e400,"instance":"i"}' % row["device_id"].encode(), b"\xff\xfe" * 50,
        b'{"v":1,"device":"%s","epoch":1,"instance":"%s","deadline_ms":-1}'
        % (row["device_id"].encode(), row["instance"].encode()),
    ]  # fmt: skip
    with redis.Redis.from_url(house.environment["REDIS_URL"]) as line:
        for word in words * 3:
            for channel in ("pause_transcription", "resume_transcription", "transcription_paused", "pause_nobody"):
                line.publish(channel, word)
    ended_well(house, task_id)
    after = house.row("transcription")
    assert (after["epoch"], after["instance"]) == (row["epoch"], row["instance"])
    assert house.swaps("park") == 0


def test_3_the_model_killed_in_the_middle_of_a_chunk(house: GpuHouse) -> None:
    speech, task_id = at_work(house)
    pid = speech.model_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ended_well(house, task_id, attempts=2)


def test_4_a_frozen_model_is_fenced(house: GpuHouse) -> None:
    speech, task_id = at_work(house)
    pid = speech.model_pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert house.holder("gemma").chat()["text"] == tokens(5)
    assert not Path(f"/proc/{pid}").exists()
    ended_well(house, task_id, attempts=2)


def test_5_supervisor_and_model_frozen_are_quarantined(house: GpuHouse) -> None:
    speech, task_id = at_work(house)
    pid = speech.model_pid()
    assert pid is not None
    os.kill(speech.process.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    chat = house.holder("gemma")
    refused = chat.chat(most_s=3)
    assert refused["error"] == "model_not_ready" and refused["detail"]
    house.is_state("transcription", "quarantined", most_s=30)
    assert "transcription" in until(lambda: house.status()["devices"][0]["alarm"])
    assert house.device.peak() <= 10 * GB
    os.kill(speech.process.pid, signal.SIGCONT)  # it finds its lease gone and kills its own model
    assert chat.chat()["text"] == tokens(5)
    ended_well(house, task_id, attempts=2)


def test_6_a_lying_ack_is_caught(house: GpuHouse) -> None:
    _, task_id = at_work(house)
    house.device.set(lie=True)
    assert house.holder("gemma").chat()["text"] == tokens(5)
    house.device.set(lie=False)
    fenced = house.sql("SELECT why FROM swap_log WHERE what = 'fence' AND holder_id = 'transcription'")
    assert "not free" in fenced[0]["why"]
    ended_well(house, task_id)


def test_7_slow_reclaim_after_a_kill(make: Make) -> None:
    house = make(GPU_COORDINATOR_VERIFY_S="20")
    speech, task_id = at_work(house)
    house.device.set(reclaim_s=5)
    pid = speech.model_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert house.holder("gemma").chat()["text"] == tokens(5)
    assert house.device.peak() <= 10 * GB
    house.device.set(reclaim_s=0)
    ended_well(house, task_id, attempts=2)


def test_8_a_wake_that_runs_out_of_memory(make: Make) -> None:
    """It says 4 GB and takes 7: the budget grows, the other model makes room, and the wake is tried once more."""
    house = make()
    speech = house.holder("transcription", 5 * GB)
    task_id = house.submit(40, 0.1)
    house.is_state("transcription", "resident")
    assert house.holder("gemma", int(4.8 * GB), str(6 * GB)).chat()["text"] == tokens(5)
    assert house.row("gemma")["bytes_resident"] >= 6 * GB
    outcomes = house.sql("SELECT outcome FROM swap_log WHERE holder_id = 'gemma' AND what = 'wake' ORDER BY swap_id")
    assert outcomes[0]["outcome"] == "out_of_memory"
    ended_well(house, task_id)
    assert speech.process.poll() is None


def test_8_what_can_never_fit_says_so(house: GpuHouse) -> None:
    chat = house.holder("gemma", 40 * GB)
    refused = chat.chat()
    assert refused["error"] == "model_not_ready" and "40.0 GB" in refused["detail"]
    assert "choose a smaller model" in until(lambda: house.status()["devices"][0]["alarm"])


def test_9_the_coordinator_killed_again_and_again(make: Make) -> None:
    house = make(**PATIENT)
    _, task_id = at_work(house)
    chat = house.holder("gemma")
    for pause_s in (0.0, 0.02, 0.05, 0.1, 0.3):
        asked = chat.ask()
        time.sleep(pause_s)
        house.kill("gpu-coordinator")
        house.start("gpu-coordinator")
        assert chat.answer(asked, 40)["text"] == tokens(5)
    ended_well(house, task_id)


def test_10_of_two_coordinators_the_old_leader_changes_nothing(make: Make) -> None:
    house = make(**PATIENT)
    _, task_id = at_work(house)
    second = house.second_coordinator()
    try:
        until(lambda: b"ready" in (house.folder / "second.log").read_bytes(), 30)
        before = house.sql("SELECT leader_epoch, leader FROM device")[0]
        house.freeze("gpu-coordinator")
        other = until(
            lambda: found if (found := house.sql("SELECT * FROM device")[0])["leader"] != before["leader"] else None, 20
        )
        assert other["leader_epoch"] > before["leader_epoch"]
        house.thaw("gpu-coordinator")
        assert house.holder("gemma").chat()["text"] == tokens(5)
        ended_well(house, task_id, attempts=2)
        assert house.sql("SELECT leader FROM device")[0]["leader"] == other["leader"]
    finally:
        second.kill()
        second.wait(10)


def test_11_redis_flushed_and_stopped(make: Make, tmp_path: Path) -> None:
    server = _started(EmbeddedRedis(tmp_path / "redis", secrets.token_urlsafe(16)))
    url = next(server)
    house = make(redis_url=url)
    _, task_id = at_work(house)
    with redis.Redis.from_url(url) as line:
        line.flushall()
    chat = house.holder("gemma")
    assert chat.chat()["text"] == tokens(5)
    server.close()  # gone for good
    assert chat.chat(tokens=6)["text"] == tokens(6)
    ended_well(house, task_id, attempts=2)


def test_12_postgres_restarted_in_the_middle(make: Make, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", secrets.token_urlsafe(16))
    running = _started(server)
    house = make(database_url=database(next(running)), **PATIENT)
    _, task_id = at_work(house)
    chat = house.holder("gemma")
    asked = chat.ask(tokens=100, seconds=0.02)
    time.sleep(0.5)
    running.close()
    again = _started(server)
    next(again)
    assert chat.answer(asked, 40)["text"] == tokens(100)
    ended_well(house, task_id, attempts=3)
    house.stop()
    again.close()


def test_13_a_zombie_changes_no_row(house: GpuHouse) -> None:
    """Frozen with the task in hand; a second process takes its place and ends the task; then it wakes up."""
    speech, task_id = at_work(house)
    pid = speech.model_pid()
    assert pid is not None
    os.kill(speech.process.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    successor = house.holder("transcription")
    ended_well(house, task_id, attempts=3)
    written = house.task(task_id)
    os.kill(speech.process.pid, signal.SIGCONT)
    time.sleep(3)
    assert house.task(task_id) == written
    assert successor.process.poll() is None


def test_14_two_hundred_alternating_requests(make: Make) -> None:
    house = make(GPU_COORDINATOR_STARVE_S="4", GPU_COORDINATOR_QUANTUM_S="1")
    _, task_id = at_work(house, parts=60, seconds=0.02)
    chat = house.holder("gemma")
    began = time.monotonic()
    for number in range(200):
        assert chat.chat(tokens=2, seconds=0)["text"] == tokens(2)
        if number % 2:
            house.submit(1, 0.01)
    took_s = time.monotonic() - began
    ended_well(house, task_id, 60)
    # Back and forth at most once a linger, and once for each wait that is too long.
    assert house.swaps("park") <= 4 + 2 * took_s / 0.5
    until(lambda: not house.sql("SELECT 1 FROM task WHERE state NOT IN ('succeeded')"), 40)


def test_15_cancel_and_disconnect_in_each_state(house: GpuHouse) -> None:
    _, task_id = at_work(house, parts=400)
    chat = house.holder("gemma")
    for most_s in (0.0, 0.01, 0.05, 0.2, 0.5):
        chat.ask(most_s=most_s)  # gives up in the middle of the hand-over
        time.sleep(0.3)
    with house.as_gateway("gpu-coordinator") as client:
        owner = "usr_01J00000000000000000000000"
        house.sql("UPDATE task SET owner = $2 WHERE task_id = $1", task_id, owner)
        with house.client(owner, "gpu-coordinator") as user:
            assert user.post(f"/jobs/{task_id}/cancel").status_code == 200
        assert until(lambda: client.get(f"/queue/tasks/{task_id}").json()["state"] == "cancelled", 20)
    assert chat.chat()["text"] == tokens(5)
    time.sleep(2)
    resident = [each for each in house.status()["holders"] if each["observed"] == "resident"]
    held = house.device.total - house.device.free_bytes()
    assert held == sum(6 * GB for _ in resident)  # no orphan load
    assert [each["holder_id"] for each in resident] == ["gemma"]


def test_a_request_while_the_model_is_leaving_is_served(make: Make) -> None:
    """Fault 15: a request during PARKING must not wait for ever (llama-swap#946)."""
    house = make(GPU_COORDINATOR_PARK_S="30")
    house.device.set(free_s=5.0)  # long enough to be seen
    _, task_id = at_work(house)
    chat = house.holder("gemma")
    first = chat.ask()
    house.is_state("transcription", "draining", "parking")
    more = house.submit(3, 0.01)
    assert chat.answer(first)["text"] == tokens(5)
    ended_well(house, task_id)
    assert house.finished(more)["state"] == "succeeded"


def test_a_holder_without_a_device_is_an_alarm_until_it_has_one(house: GpuHouse) -> None:
    def alarm() -> tuple[str | None, bool]:
        with house.as_gateway("gpu-coordinator") as client:
            figures = client.get("/metrics").text
        gauge = next(line for line in figures.splitlines() if line.startswith("nemo_gpu_alarm{"))
        return house.status()["devices"][0]["alarm"], gauge.endswith(" 1.0")

    wanted = {"instance": "i1", "device_kind": "cuda", "bytes_resident": 1}
    assert alarm() == (None, False)
    with house.as_service("gemma") as client:
        client.post("/gpu/holders/gemma/register", json=wanted)
        told, shown = alarm()
        assert "gemma was set to use a cuda device" in str(told) and shown
        client.post("/gpu/holders/gemma/register", json=wanted | {"device_kind": "fake"}).raise_for_status()
        assert alarm() == (None, False)


def test_strangers_and_absurd_sizes_are_refused(house: GpuHouse) -> None:
    good = {"instance": "i1", "device_kind": "fake", "bytes_resident": 1}
    with house.as_service("gemma") as client:
        for path, body, status in (
            ("/gpu/holders/gemma/register", good | {"device_id": "nowhere/cuda:9"}, 404),
            ("/gpu/holders/gemma/register", good | {"device_kind": "cuda"}, 404),
            ("/gpu/holders/gemma/register", good | {"bytes_resident": -1}, 422),
            ("/gpu/holders/gemma/register", good | {"bytes_resident": 2**60}, 422),
            ("/gpu/holders/gemma/register", good | {"device_kind": "tpu"}, 422),
            ("/gpu/holders/gemma/register", good | {"instance": "x y"}, 422),
            ("/gpu/holders/transcription/register", good, 403),
            ("/gpu/holders/gemmatic/register", good, 403),
            ("/gpu/holders/%2e%2e/register", good, 422),
            ("/gpu/holders/GEMMA/register", good, 422),
            ("/gpu/holders/gemma/sync?device_id=x", {"instance": "i", "epoch": 1, "phase": "parked"}, 409),
            ("/gpu/holders/gemma/sync?device_id=x", {"instance": "i", "epoch": -1, "phase": "parked"}, 422),
            ("/gpu/holders/gemma/sync?device_id=x", {"instance": "i", "epoch": 1, "phase": "fencing"}, 422),
        ):
            answer = client.post(path, json=body)
            assert answer.status_code == status, (path, body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
    assert house.status()["holders"] == []


def test_two_devices_with_a_coordinator_each(tmp_path: Path, postgres_server: str, redis_url: str) -> None:
    """One database, two nodes: each coordinator decides about its own device and shows both."""
    url = database(postgres_server)
    nodes = [GpuHouse(tmp_path / name, url, redis_url) for name in ("a", "b") if not (tmp_path / name).mkdir()]
    # The secrets are the installation's, the devices the nodes'.
    for node in nodes[1:]:
        node.environment["SECRETS_DIR"] = str(nodes[0].folder / "secrets")
        node.borrow(nodes[0])
    try:
        for name, node in zip(("node-a", "node-b"), nodes, strict=True):
            renamed = node.folder / f"{name}.json"
            node.device.path.rename(renamed)
            node.device = FakeDevice(renamed)
            node.environment["GPU_COORDINATOR_DEVICES"] = f"fake:{renamed}"
            node.start("gpu-coordinator")
        speeches = [at_work(node, parts=20)[1] for node in nodes]
        chats = [node.holder("gemma") for node in nodes]
        asked = [chat.ask() for chat in chats]
        assert [chat.answer(number)["text"] for chat, number in zip(chats, asked, strict=True)] == [tokens(5)] * 2
        for node, task_id in zip(nodes, speeches, strict=True):
            ended_well(node, task_id, 20, attempts=2)
        leaders = nodes[0].sql("SELECT device_id, leader FROM device ORDER BY device_id")
        assert [each["device_id"] for each in leaders] == ["node-a/fake", "node-b/fake"]
        assert len({each["leader"] for each in leaders}) == 2
        assert len(nodes[0].status()["devices"]) == len(nodes[1].status()["devices"]) == 2
        for node in nodes:
            assert node.device.peak() <= 10 * GB
    finally:
        for node in nodes:
            node.stop()


async def test_an_old_leader_changes_no_row(postgres_url: str, tmp_path: Path) -> None:
    from services.gpu_coordinator.holders import Device, PostgresHolders
    from services.gpu_coordinator.ledger import Change, HolderRow
    from shared.storage import postgres

    pool = await postgres.connect(postgres_url)
    await postgres.migrate(pool, "gpu-coordinator", Path("services/gpu_coordinator/migrations").resolve())
    store = PostgresHolders(pool)
    await store.add_device(Device("d", "fake", 100, 0))
    await store.register(HolderRow("gemma", "d", 10, instance="i"))
    first = await store.lead("d", "one", 0.05)
    assert first is not None and await store.lead("d", "two", 5) is None
    await asyncio.sleep(0.1)
    second = await store.lead("d", "two", 5)
    assert second == first + 1
    change = Change("gemma", 1, "waking", "resident", "", command="wake", deadline_s=5)
    assert await store.apply("d", first, change) is None
    row = await store.apply("d", second, change)
    assert row is not None and (row.observed, row.epoch) == ("waking", 2)
    assert await store.apply("d", second, change) is None  # of an epoch that is over
    await pool.close()
