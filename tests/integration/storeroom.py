"""Where recordings come in, without what listens to them: it starts fast, and what is said is of no interest here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.transcription_house import House, database


class Storeroom(House):
    services = ("gpu-coordinator", "transcription")


@pytest.fixture(scope="module")
def storeroom(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: object
) -> Iterator[House]:
    plain = {"TRANSCRIPTION_ENGINE": "fake", "TRANSCRIPTION_DIARIZER": "none"}
    running = Storeroom(tmp_path_factory.mktemp("storeroom"), database(postgres_server), redis_url, **plain)
    running.start()
    yield running
    running.stop()
