"""Each part of the platform away for a while, a disk that is full, a clock that was set: a clear answer, and nothing lost."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from services.cli import keys
from tests.bad_days import Caller, dead, frozen, poll, refusal
from tests.conftest import Platform, nemo

pytestmark = pytest.mark.timeout(900)  # starts of whole platforms, on machines that are busy

OWN = {
    "rag": {"remember", "search"},
    "transcription": {"upload"},
    "emotion": {"feel"},
    "tts": {"say"},
    "gemma": {"chat"},
    "gpu-coordinator": {"queue"},
    "postgres": {"queue"},
    "redis": {"queue"},
}
"""What cannot be done without it, whatever else can."""


@pytest.mark.parametrize("name", OWN)
def test_a_dead_part_is_named_and_comes_back_with_nothing_lost(platform: Platform, name: str) -> None:
    caller = Caller(platform, f"dead-{name}")
    assert caller.all_well(OWN[name])
    with dead(platform, name):
        answers = caller.refused(OWN[name])
        others = [caller.calls[kind]() for kind in ("remember", "upload", "recent", "sign in")]
    assert all(answer.is_success or refusal(answer) for answer in others)
    if name not in ("postgres", "redis"):
        assert all(name in answer.text for answer in answers.values())
    platform.wait_ready()
    poll(lambda: caller.all_well(OWN[name]))
    caller.require_all_kept()


@pytest.mark.parametrize("name", ["rag", "postgres"])
def test_a_frozen_part_keeps_nobody_waiting(platform: Platform, name: str) -> None:
    """Its sockets are open and nobody answers: our deadline has to be shorter than that of any client."""
    caller = Caller(platform, f"frozen-{name}")
    assert caller.all_well(OWN[name])
    with frozen(platform, name):
        caller.refused(OWN[name])
        health = httpx.get(f"{platform.url}/ready", timeout=30)
    assert health.status_code == 503 and health.json()["status"] != "ok"
    platform.wait_ready()
    poll(lambda: caller.all_well(OWN[name]))
    caller.require_all_kept()


def test_the_gateway_dies_and_its_users_stay_signed_in(platform: Platform) -> None:
    caller = Caller(platform, "dead-gateway")
    assert caller.all_well([])
    platform.kill_service("api-gateway")
    platform.wait_ready()
    assert caller.all_well(["recent"])
    caller.require_all_kept()


def test_a_clock_that_was_set_ends_access_and_not_the_session(platform: Platform) -> None:
    """Tokens signed before a clock was set back are of the future; those of before it was set forward are old."""
    with platform.client("clockwatcher") as client:
        body = {"username": "clockwatcher", "password": "a long enough pass phrase"}
        signed_in = client.post("/auth/login", json=body).raise_for_status().json()
        head, claims, _ = signed_in["access_token"].split(".")
        told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        headers = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        secret = keys.value(platform.data_dir / "secrets", "jwt_secret_primary")
        for shift_s in (3600, -7200):
            moved = told | {"iat": told["iat"] + shift_s, "exp": told["exp"] + shift_s}
            token = jwt.encode(moved, secret, algorithm=headers["alg"], headers=headers)
            refused = client.get("/transcription/recent", headers={"Authorization": f"Bearer {token}"})
            assert refused.status_code == 401 and refused.json()["code"] == "unauthenticated"
        same = jwt.encode(told, secret, algorithm=headers["alg"], headers=headers)  # the time alone was wrong
        assert client.get("/transcription/recent", headers={"Authorization": f"Bearer {same}"}).is_success
        again = client.post("/auth/refresh", json={"refresh_token": signed_in["refresh_token"]})
        token = again.raise_for_status().json()["access_token"]
        assert client.get("/transcription/recent", headers={"Authorization": f"Bearer {token}"}).is_success


# -- the disk


def mounted(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return os.geteuid() == 0 and shutil.which("mount") is not None and subprocess.run(command).returncode == 0


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, whose size can be changed; what is free is not taken from anybody."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=3g,mode=0711"):
        pytest.skip("only root may mount the small disk that this fills")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_whole_and_works_again_when_there_is_room(small_disk: Path, models_dir: Path) -> None:
    platform = Platform(small_disk / "data")
    platform.start()
    try:
        caller = Caller(platform, "collector")
        assert caller.all_well([])
        poll(lambda: caller._completed(caller.recordings[0]))
        used = os.statvfs(small_disk)
        resize(
            small_disk, f"{(used.f_blocks - used.f_bfree) * used.f_frsize // 1024}k"
        )  # what is stored, not a byte more
        assert {refusal(caller.upload()) for _ in range(3)} & {"disk_full"}
        assert {refusal(answer) for answer in (caller.remember() for _ in range(40)) if not answer.is_success}
        doctor = nemo(platform.data_dir, "doctor", "--json")
        assert doctor.returncode == 1 and "disk_full" in {each["code"] for each in json.loads(doctor.stdout)}
        resize(small_disk, "3g")
        platform.wait_ready()
        poll(lambda: caller.all_well([]))
        caller.require_all_kept()
        stored = list(caller.client.get("/rag/memories", params={"limit": 100, "memory_type": "note"}).json()["data"])
        assert sorted(each["content"] for each in stored) == sorted(content for _, content in caller.memories)
    finally:
        platform.stop()


def test_a_read_only_disk_is_told_before_anything_starts(small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    up = nemo(small_disk / "data", "up", "--port", "29000")
    assert up.returncode == 1 and "cannot be written (Read-only file system)" in up.stdout
    doctor = nemo(small_disk / "data", "doctor", "--json")
    found = {each["code"]: each for each in json.loads(doctor.stdout)}
    assert doctor.returncode == 1 and found["disk_read_only"]["see"] == "docs/operations.md#read-only-disk"


# -- the start


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text(""), "SESSION_SECRET is not set"),
        (lambda path: path.write_text("changeme-changeme-changeme-changeme"), "openssl rand -hex 32"),
        (lambda path: path.chmod(0o644), "chmod 600"),
        (lambda path: path.unlink(), "is gone, and"),
    ],
    ids=["empty", "example", "world-readable", "missing"],
)
def test_secrets_that_are_not_fit_refuse_to_start(tmp_path: Path, spoil: object, says: str) -> None:
    keys.ensure(tmp_path / "secrets", tmp_path)
    (tmp_path / "users.db").touch()  # something is stored that the secret belongs to
    secret = tmp_path / "secrets" / "session_secret"
    spoil(secret)  # type: ignore[operator]
    up = nemo(tmp_path, "up", "--port", "29000")
    assert up.returncode == 1 and "cannot start" in up.stdout
    assert str(secret) in up.stdout and says in up.stdout and "Traceback" not in up.stdout + up.stderr
    doctor = nemo(tmp_path, "doctor")
    assert doctor.returncode == 1 and str(secret) in doctor.stdout


def test_a_port_that_is_taken_is_told_with_its_holder(tmp_path: Path, platform: Platform) -> None:
    up = nemo(tmp_path, "up", "--port", str(platform.port))
    assert up.returncode == 1 and f"Port {platform.port}" in up.stdout and "process" in up.stdout
    assert f"nemo up --port {platform.port + 1000}" in up.stdout


def test_a_gpu_that_is_wanted_and_absent_is_told(tmp_path: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU here")
    doctor = nemo(tmp_path, "doctor", "--json", TRANSCRIPTION_DEVICE="cuda", GEMMA_GPU_LAYERS="-1")
    found = {each["code"]: each for each in json.loads(doctor.stdout)}
    assert doctor.returncode == 1 and "TRANSCRIPTION_DEVICE, GEMMA_GPU_LAYERS" in found["no_gpu"]["what"]
    assert "no_gpu" not in nemo(tmp_path, "doctor", "--json").stdout


def test_the_platform_lives_without_the_gpu_that_it_was_promised(tmp_path: Path, models_dir: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU here")
    platform = Platform(tmp_path / "data")
    platform.more = {"TRANSCRIPTION_DEVICE": "cuda"}
    try:
        platform.start(status="degraded")
        caller = Caller(platform, "optimist")
        recording = caller.upload().raise_for_status().json()["transcript_id"]
        told = poll(lambda: alarm(caller))
        assert "transcription was set to use a cuda device" in told and "nemo doctor" in told
        waiting = caller.client.get(f"/transcription/{recording}").json()
        assert waiting["status"] == "queued" and waiting["error"] is None
        caller.remember().raise_for_status()
    finally:
        platform.stop()


def alarm(caller: Caller) -> str:
    alarms = [device.get("alarm") for device in caller.client.get("/gpu/status").json()["devices"]]
    return "; ".join(each for each in alarms if each)
