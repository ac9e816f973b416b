"""Two models that do not fit together take turns, chat first, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gpu_house import GB, GpuHouse, tokens, until, whole
from tests.integration.transcription_house import database


@pytest.fixture
def house(tmp_path: Path, postgres_server: str, redis_url: str) -> Iterator[GpuHouse]:
    made = GpuHouse(tmp_path, database(postgres_server), redis_url)
    made.start("gpu-coordinator")
    yield made
    made.stop()


def test_chat_pre_empts_speech_which_ends_as_if_nothing_had_been(house: GpuHouse) -> None:
    speech, chat = house.holder("transcription"), house.holder("gemma")
    task_id = house.submit(parts=40, seconds=0.1)
    house.is_state("transcription", "resident")
    until(lambda: house.task(task_id)["state"] == "running")
    said = chat.chat(tokens=20, seconds=0.01)
    assert said["text"] == tokens(20)
    assert house.row("transcription")["observed"] != "resident"
    done = house.finished(task_id)
    assert (done["state"], done["result"]["text"]) == ("succeeded", whole(40))
    assert done["attempt"] == 1
    assert house.device.peak() <= 10 * GB
    assert speech.process.poll() is None
