"""`nemo doctor`: each thing that is wrong is found, told with its way out, and leads to a heading that exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.__main__ import main
from services.cli import keys, rotate, up
from services.cli.backup import key
from services.cli.doctor import GUIDE, Finding, care, clock, commands, hardware, places, stores
from shared.settings import ROOT, ServiceSettings
from shared.storage import backup_records as records

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    (tmp_path / "data").mkdir(mode=0o700)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    keys.ensure(tmp_path / "data" / "secrets", tmp_path / "data")
    return ServiceSettings()


def codes(found: Iterator[Finding]) -> set[str]:
    return {each.code for each in found}


def anchors(text: str) -> set[str]:
    """As the page of a repository makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_finding_leads_to_a_heading_of_the_guide() -> None:
    there = anchors((ROOT / GUIDE).read_text(encoding="utf-8"))
    named = set()
    for path in (ROOT / "services" / "cli" / "doctor").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        for call in re.findall(r"Finding\((.*?)\)\n", source, re.DOTALL):
            named |= set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"(?:, grave=[a-z]+)?,?\s*$', call))
    assert len(named) >= 15 and named <= there, named - there


def test_links_inside_the_guide_lead_somewhere() -> None:
    text = (ROOT / GUIDE).read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors(text)


def test_a_healthy_folder_has_nothing_grave_of_its_own(settings: ServiceSettings) -> None:
    grave = {each.code for each in commands.examine(settings) if each.grave}
    assert grave <= {"no_page", "weights_wrong", "port_taken", "disk_full", "low_memory", "no_inodes"}  # the machine's


def test_a_disk_without_room_and_one_without_inodes(settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not codes(places._room(settings.data_dir)) - {"disk_full", "no_inodes"}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**6))
    real = os.statvfs(settings.data_dir)
    counted = namedtuple("counted", "f_files f_favail")
    monkeypatch.setattr(os, "statvfs", lambda path: counted(real.f_files or 1000, 3))
    assert codes(places._room(settings.data_dir)) == {"disk_full", "no_inodes"}


def test_a_port_that_is_taken_is_told_with_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        monkeypatch.setattr(places, "SERVICE_PORTS", {"rag": held.getsockname()[1]})
        (found,) = places._ports()
    assert found.code == "port_taken" and f"process {os.getpid()}" in found.what


def test_a_folder_that_others_may_write(settings: ServiceSettings) -> None:
    assert codes(places._private(settings.data_dir)) == set()
    settings.data_dir.chmod(0o777)
    (found,) = places._private(settings.data_dir)
    assert found.code == "data_open" and "chmod 700" in found.do


def test_what_a_killed_platform_left(settings: ServiceSettings) -> None:
    (settings.data_dir / up.PID_FILE).write_text("4242\n8000\n127.0.0.1\n")
    folder = settings.data_dir / "postgres"
    folder.mkdir()
    (folder / "postmaster.pid").write_text(f"{os.getpid()}\n")  # somebody else's by now
    (found,) = places._left_behind(settings.data_dir)
    assert found.code == "stale_pid" and not found.grave


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rag_db_key", "", "is not set"),
        ("session_secret", "changeme-changeme-changeme-changeme", "looks like an example"),
        ("postgres_password", "short", "at least 12"),
    ],
)
def test_each_unfit_secret_is_told_with_its_file(settings: ServiceSettings, name: str, value: str, says: str) -> None:
    path = settings.secrets_folder / name
    path.write_text(value)
    (settings.secrets_folder / "redis_password").chmod(0o640)
    (settings.secrets_folder / "users_db_key").unlink()
    found = [each.what for each in care.secrets(settings)]
    assert len(found) == 3
    for file, words in {name: says, "redis_password": "chmod 600", "users_db_key": "No such file"}.items():
        assert any(str(settings.secrets_folder / file) in each and words in each for each in found), found


def test_a_rotation_that_was_killed(settings: ServiceSettings) -> None:
    (settings.secrets_folder / rotate.NEXT).write_text("half")
    (found,) = care.secrets(settings)
    assert found.code == "rotation_unfinished" and "nemo rotate postgres" in found.do


def test_backups_that_are_old_or_were_never_tried(settings: ServiceSettings) -> None:
    assert codes(care.backups(settings)) == set()
    (settings.data_dir / "users.db").touch()
    (found,) = care.backups(settings)
    assert found.code == "no_backups" and not found.grave
    (settings.secrets_folder / key.NAME).write_text("00" * 32)
    assert codes(care.backups(settings)) == {"no_backup"}
    records.write(settings.data_dir, "made", archive="x")
    records.write(settings.data_dir, "drilled", archive="x")
    assert codes(care.backups(settings)) == set()
    old = {name: {"at": "2020-01-01T00:00:00+00:00"} for name in ("made", "drilled")}
    (settings.data_dir / records.FILE).write_text(json.dumps(old))
    assert codes(care.backups(settings)) == {"backup_old", "drill_old"}


def test_a_clock_behind_its_own_files(settings: ServiceSettings) -> None:
    file = settings.data_dir / "backups.json"
    file.touch()
    assert codes(clock.findings(settings)) == set()
    later = time.time() + 3600
    os.utime(file, (later, later))
    assert codes(clock.findings(settings)) == {"clock_behind"}


@pytest.mark.parametrize(("shift_s", "word"), [(7200, "forward"), (-7200, "back")])
def test_a_clock_that_was_set_while_the_platform_runs(settings: ServiceSettings, shift_s: int, word: str) -> None:
    """The note of the start is moved instead of the clock: this process began when it began."""
    with up.held(settings.data_dir, "127.0.0.1", 9100):
        note = settings.data_dir / up.PID_FILE
        began = time.time() - clock.age_s(os.getpid())
        os.utime(note, (began, began))
        assert codes(clock.findings(settings)) == set()
        os.utime(note, (began - shift_s, began - shift_s))
        found = {each.code: each.what for each in clock.findings(settings)}
        assert word in found["clock_jumped"]


def test_a_gpu_that_settings_want(settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert hardware.wants_gpu() == []
    monkeypatch.setenv("EMOTION_DEVICE", "cuda")
    monkeypatch.setenv("RAG_INDEX_DEVICE", "cuda")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = [each for each in hardware.findings(settings) if each.code == "no_gpu"]
    assert "EMOTION_DEVICE, RAG_INDEX_DEVICE ask for a GPU, and there is no nvidia-smi here" in found[0].what
    smi = tmp_path / "nvidia-smi"
    for script, says in (("echo 'driver mismatch' >&2; exit 9", "driver mismatch"), ("echo 'GPU 0: box'", None)):
        smi.write_text(f"#!/bin/sh\n{script}\n")
        smi.chmod(0o755)
        missing = hardware.gpu_missing()
        assert missing is None if says is None else says in str(missing)


def test_little_memory_is_told(settings: ServiceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 8000000 kB\nMemAvailable:     1024 kB\n")
    assert hardware.available_kib(file) == 1024
    monkeypatch.setattr(hardware, "available_kib", lambda path: 1024)
    (found,) = hardware._memory(settings)
    assert found.code == "low_memory" and not found.grave
    with up.held(settings.data_dir, "127.0.0.1", 9100):
        (found,) = hardware._memory(settings)
        assert found.grave


def test_stores_that_do_not_answer(monkeypatch: pytest.MonkeyPatch, settings: ServiceSettings) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nemo:hunter2hunter2@127.0.0.1:1/nemo")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2hunter2@127.0.0.1:1/0")
    found = list(stores.findings(ServiceSettings()))
    assert codes(iter(found)) == {"postgres_down", "redis_down"}
    assert not any("hunter2" in each.what + each.do for each in found)


def test_data_of_a_newer_version_and_a_clock_elsewhere() -> None:
    assert codes(stores._schemas({"rag": 1})) == set()
    assert codes(stores._schemas({"transcription": 99_999})) == {"schema_newer"}
    assert codes(stores._skew(3.0)) == set() and codes(stores._skew(-300.0)) == {"clock_skew"}


def test_the_command_line(settings: ServiceSettings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.secrets_folder.joinpath("rag_db_key").write_text("")
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "!!  RAG_DB_KEY is not set" in said and "why:" in said
    assert f"see: {GUIDE}#missing-or-unfit-secrets" in said
    assert main(["doctor", "--json"]) == 1
    listed = json.loads(capsys.readouterr().out)
    one = next(each for each in listed if each["code"] == "secret_unfit")
    assert set(one) == {"code", "what", "why", "do", "topic", "grave", "see"}


def test_advice_alone_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    advice = Finding("drill_old", "what", "why", "do", "backup", grave=False)
    lines = list(commands.told([advice]))
    assert lines[0].startswith("--  what") and lines[-1].startswith("ok  ")


def test_settings_that_cannot_be_read_stop_one_look_only(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMMA_GPU_LAYERS", "many")
    found = [each for each in commands.examine(settings) if each.code == "not_examined"]
    assert len(found) == 1 and "hardware" in found[0].what and "gpu_layers" in found[0].what.lower()
