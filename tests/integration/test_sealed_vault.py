"""Sealed vaults through the real gateway, memory and transcription services, over real databases."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from websockets.exceptions import ConnectionClosed

from shared.auth.service_tokens import ServiceIdentity
from shared.schemas.ids import new_id
from shared.schemas.live import CLOSE_LOCKED
from shared.settings import ServiceSettings
from tests.conftest import ROOT, connect
from tests.integration.transcription_house import Caller, House, database, finished, upload, wav

OLD, NEW = "a long enough pass phrase", "quite another pass phrase"
CANARY = "zanzibarquetzal"
RATE_HZ = 16_000


class Sealed(House):
    services = ("gpu-coordinator", "rag", "emotion", "transcription", "api-gateway")

    def wait_ready(self, name: str) -> None:
        if name != "api-gateway":  # it waits for services that have no part in this
            super().wait_ready(name)
            return
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._running[name].poll() is None, self.log(name)
            try:
                httpx.get(f"{self.url(name)}/live", timeout=3).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError(self.log(name))

    def restart(self, *names: str) -> None:
        for name in names:
            self.kill(name)
        self.start(*names)

    def join(self, name: str) -> User:
        httpx.post(f"{self.url('api-gateway')}/auth/register", json={"username": name, "password": OLD}, timeout=60)
        return User(self, name).sign_in(OLD)


class User(httpx.Client):
    """Somebody at the gateway."""

    def __init__(self, house: Sealed, name: str) -> None:
        super().__init__(base_url=house.url("api-gateway"), timeout=120)
        self.house, self.name = house, name
        self.user_id = ""

    def sign_in(self, password: str) -> User:
        answer = self.post("/auth/login", json={"username": self.name, "password": password})
        self.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        self.user_id = self.get("/auth/me").json()["id"]
        return self

    def seal(self) -> str:
        sealed = self.post("/vault/seal", json={"password": OLD})
        assert sealed.status_code == 201, sealed.text
        return str(sealed.json()["recovery_code"])

    def vault(self) -> tuple[str, bool]:
        found = self.get("/vault").raise_for_status().json()
        return found["mode"], found["locked"]

    def unlock(self, **given: str) -> httpx.Response:
        return self.post("/vault/unlock", json=given)

    def remembers(self) -> list[str]:
        return [each["content"] for each in self.get("/rag/memories").raise_for_status().json()["data"]]


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: Path
) -> Iterator[Sealed]:
    running = Sealed(
        tmp_path_factory.mktemp("sealed"),
        database(postgres_server),
        redis_url,
        JWT_SECRET=secrets.token_urlsafe(48),
        SESSION_SECRET=secrets.token_urlsafe(48),
        USERS_DB_KEY=secrets.token_urlsafe(48),
        API_GATEWAY_SIGN_INS_PER_MINUTE="10000",
        API_GATEWAY_BCRYPT_ROUNDS="4",
        API_GATEWAY_VAULT_MEMORY_KIB="1024",
        TRANSCRIPTION_ENGINE="fake",
        TRANSCRIPTION_DIARIZER="none",
        TRANSCRIPTION_CHUNK_S="4",
    )
    running.start()
    running.join("first-admin").close()
    yield running
    running.stop()


def noise(seconds: float) -> bytes:
    return wav(np.random.default_rng(7).integers(-9000, 9000, int(seconds * RATE_HZ)).astype(np.int16))


def until(true: Callable[[], Any], wait_s: float = 90) -> Any:
    deadline = time.monotonic() + wait_s
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_who_cannot_open_a_sealed_vault_can_still_leave(house: Sealed) -> None:
    user = house.join("leaver")
    user.post("/rag/memory", json={"content": f"The word is {CANARY}."}).raise_for_status()
    upload(user, noise(1), emotion="false")
    user.seal()
    assert user.post("/vault/lock").json()["locked"] is True
    mine = [path for path in house.folder.rglob(f"*{user.user_id}*") if "deletions" not in path.parts]
    assert any(path.suffix == ".db" for path in mine) and any("blobs" in path.parts for path in mine)
    assert user.request("DELETE", "/auth/me", json={"password": NEW}).status_code == 422
    assert user.request("DELETE", "/auth/me", json={"password": OLD}).status_code == 204
    assert user.get("/auth/me").status_code == 401
    assert not [path for path in mine if path.exists()]


def test_after_a_restart_nobody_reads_anything_until_the_user_unlocks(house: Sealed) -> None:
    anna, ben = house.join("anna"), house.join("ben")
    anna.post("/rag/memory", json={"content": f"The word is {CANARY}."}).raise_for_status()
    ben.post("/rag/memory", json={"content": "Ben's own."}).raise_for_status()
    fields = {"title": f"Of {CANARY}", "emotion": "false"}
    recording = upload(anna, noise(3), **fields).json()["transcript_id"]
    assert anna.vault() == ("open", False)
    code = anna.seal()
    assert anna.vault() == ("sealed", False) and len(anna.remembers()) == 1
    assert anna.post("/vault/seal", json={"password": OLD}).status_code == 409

    house.restart("rag", "transcription")
    assert anna.vault() == ("sealed", True) and ben.remembers() == ["Ben's own."]
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/rag/memories", {}),
        ("POST", "/rag/memory", {"json": {"content": "x"}}),
        ("POST", "/rag/search", {"json": {"query": CANARY}}),
        ("GET", "/transcription/recent", {}),
        ("GET", f"/transcription/{recording}", {}),
        ("GET", f"/transcription/{recording}/audio", {}),
        ("GET", f"/transcription/{recording}/export", {}),
        ("PATCH", f"/transcription/{recording}", {"json": {"title": "x"}}),
        ("DELETE", f"/transcription/{recording}", {}),
        ("GET", "/transcription/speakers", {}),
        ("POST", "/transcription/upload", {"files": {"file": ("a.wav", noise(1))}}),
        ("POST", "/transcription/upload", {"files": {"file": ("a.wav", noise(600))}}),
        ("POST", "/transcription/enroll-speaker", {"files": {"file": ("a.wav", noise(1))}, "data": {"speaker_id": "x"}}),
    ]  # fmt: skip
    for method, path, what in calls:
        answer = anna.request(method, path, **what)
        assert answer.status_code == 423, (method, path, answer.text)
        assert answer.json()["code"] == "vault_locked" and "/vault/unlock" in answer.json()["detail"]
        assert CANARY not in answer.text
    for wrong in ({"password": NEW}, {"recovery_code": "AAAA-BBBB"}, {"recovery_code": code, "password": NEW}):
        refused = anna.unlock(**wrong)
        assert refused.status_code == 422 and OLD not in refused.text and code not in refused.text
    assert anna.unlock().status_code == 422 and anna.vault() == ("sealed", True)

    assert anna.unlock(password=OLD).json()["locked"] is False
    assert anna.remembers() == [f"The word is {CANARY}."]
    assert anna.get(f"/transcription/{recording}").json()["title"] == f"Of {CANARY}"
    assert anna.get(f"/transcription/{recording}/audio").content == noise(3)
    assert anna.post("/vault/lock").json()["locked"] is True
    assert anna.post("/rag/search", json={"query": CANARY}).status_code == 423
    assert anna.unlock(recovery_code=code).json()["locked"] is False and anna.remembers()
    anna.post("/vault/lock")
    assert anna.sign_in(OLD).vault() == ("sealed", False)  # signing in unlocks

    assert anna.post("/vault/unseal", json={"password": NEW}).status_code == 422
    assert anna.post("/vault/unseal", json={"password": OLD}).status_code == 204
    house.restart("rag")
    assert anna.vault() == ("open", False) and anna.remembers() == [f"The word is {CANARY}."]


def test_another_password_and_a_forgotten_one(house: Sealed) -> None:
    carl = house.join("carl")
    carl.post("/rag/memory", json={"content": "Kept."}).raise_for_status()
    code = carl.seal()
    change = {"current_password": OLD, "new_password": NEW}
    assert carl.post("/auth/password", json=change | {"current_password": NEW}).status_code == 422
    assert carl.post("/auth/password", json=change).status_code == 204
    carl.post("/vault/lock")
    assert carl.unlock(password=OLD).status_code == 422
    assert carl.unlock(password=NEW).status_code == 200 and carl.remembers() == ["Kept."]
    second = carl.post("/vault/recovery", json={"password": NEW}).json()["recovery_code"]
    carl.post("/vault/lock")
    assert carl.unlock(recovery_code=code).status_code == 422

    reset = subprocess.run(
        [sys.executable, "-m", "services", "users", "set-password", "carl"],
        cwd=ROOT, env=house.environment, input="a third long pass phrase\n", text=True, capture_output=True, check=True,
    )  # fmt: skip
    assert "recovery code" in reset.stdout
    carl.sign_in("a third long pass phrase")  # the operator can change the account, not open the vault
    assert carl.vault() == ("sealed", True)
    refused = carl.unlock(password="a third long pass phrase")
    assert refused.status_code == 422 and "earlier" in refused.json()["detail"]
    assert carl.unlock(recovery_code=second, password="a third long pass phrase").status_code == 200
    carl.post("/vault/lock")
    assert carl.unlock(password=NEW).status_code == 422
    assert carl.unlock(password="a third long pass phrase").status_code == 200 and carl.remembers() == ["Kept."]


def test_a_job_that_the_lock_meets_half_way_waits_and_loses_nothing(house: Sealed) -> None:
    dora = house.join("dora")
    dora.seal()
    sound = noise(1200)
    made = upload(dora, sound, wait_s=0, emotion="false").json()
    count = "SELECT count(*) AS n FROM recording_part WHERE recording_id = $1 AND stage = 'asr'"
    until(lambda: house.sql(count, made["transcript_id"])[0]["n"] >= 3)
    dora.post("/vault/lock").raise_for_status()
    job = until(lambda: (each := dora.get(f"/jobs/{made['job_id']}").json())["state"] == "queued" and each)
    assert job["progress"]["stage"] == "vault_locked" and job["error"] is None
    saved = house.sql(count, made["transcript_id"])[0]["n"]
    assert saved < 300 and dora.get("/vault").json()["waiting"] == 1
    house.restart("transcription")
    time.sleep(1)
    assert house.sql(count, made["transcript_id"])[0]["n"] == saved
    dora.unlock(password=OLD).raise_for_status()
    transcript = finished(dora, made["transcript_id"], 120)
    undisturbed = finished(dora, upload(dora, sound, wait_s=0, emotion="false").json()["transcript_id"], 120)
    assert transcript["status"] == "completed" and transcript["text"] == undisturbed["text"]
    assert dora.get(f"/jobs/{made['job_id']}").json()["attempt"] == 1


def test_results_for_a_locked_vault_wait_in_boxes(house: Sealed) -> None:
    emil = house.join("emil")
    at_rag = house.client(emil.user_id, "rag")
    talk = at_rag.post("/rag/conversations", json={"title": "A talk"}).json()["conversation_id"]
    emil.seal()
    house.restart("rag")  # alone: what transcribes has the key still
    made = upload(emil, noise(3), wait_s=0, title=f"Of {CANARY}", emotion="false").json()
    until(lambda: emil.get(f"/jobs/{made['job_id']}").json()["state"] == "succeeded")
    answer = {"message_id": new_id("msg"), "role": "assistant", "content": f"It is {CANARY}.", "created_at": "2026-01-01T00:00:00Z"}  # fmt: skip
    path = f"/rag/conversations/{talk}/messages"
    for status in ("streaming", "complete"):
        body = answer | {"status": status}
        assert at_rag.put(f"{path}/{answer['message_id']}", json=body).status_code == 200
    asked = answer | {"role": "user", "message_id": new_id("msg")}
    assert at_rag.put(f"{path}/{asked['message_id']}", json=asked).status_code == 423
    assert emil.get("/vault").json() == {"mode": "sealed", "locked": True, "waiting": 2}
    boxes = [each.read_bytes() for each in (house.folder / "vaults" / f"{emil.user_id}.outbox").iterdir()]
    assert len(boxes) == 2 and not any(CANARY.encode() in each for each in boxes)
    house.restart("rag")
    assert emil.unlock(password=OLD).json() == {"mode": "sealed", "locked": False, "waiting": 0}
    assert finished(emil, made["transcript_id"])["title"] == f"Of {CANARY}"
    (said,) = at_rag.get(f"/rag/conversations/{talk}").json()["messages"]
    assert said["content"] == f"It is {CANARY}." and said["status"] == "complete"
    assert not (house.folder / "vaults" / f"{emil.user_id}.outbox").exists()


def test_a_live_stream_ends_with_the_lock_and_goes_on_after_it(house: Sealed) -> None:
    fred = house.join("fred")
    fred.seal()
    sound = noise(4)[44:]
    url = house.url("transcription").replace("http", "ws") + "/transcription/stream"
    with connect(url, additional_headers=house.headers(fred.user_id)) as socket:
        socket.send(json.dumps({"type": "start", "sample_rate_hz": RATE_HZ}))
        token = json.loads(socket.recv(timeout=60))["resume_token"]
        socket.send(sound)
        acked = _until(socket, "ack")["audio_ms"]
        fred.post("/vault/lock").raise_for_status()
        assert _until(socket, "error")["code"] == "vault_locked"
        with pytest.raises(ConnectionClosed) as closed:
            _until(socket, "nothing")
        assert closed.value.rcvd is not None and closed.value.rcvd.code == CLOSE_LOCKED
    with connect(url, additional_headers=house.headers(fred.user_id)) as socket:
        socket.send(json.dumps({"type": "start", "sample_rate_hz": RATE_HZ, "resume_token": token}))
        assert _until(socket, "error")["code"] == "vault_locked"
    fred.unlock(password=OLD).raise_for_status()
    with connect(url, additional_headers=house.headers(fred.user_id)) as socket:
        socket.send(json.dumps({"type": "start", "sample_rate_hz": RATE_HZ, "resume_token": token}))
        assert _until(socket, "ready")["audio_ms"] >= acked > 0
        socket.send(json.dumps({"type": "stop"}))
        made = _until(socket, "end")["transcript_id"]
    assert finished(fred, made)["status"] == "completed"
    stored = fred.get(f"/transcription/{made}/audio").content[44:]
    assert len(stored) >= acked * 32 and sound.startswith(stored)


def _until(socket: Any, kind: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(socket.recv(timeout=60))
        if event["type"] == kind:
            return event


def test_only_the_gateway_turns_the_lock(house: Sealed) -> None:
    gina = house.join("gina")
    gina.seal()
    with house.client(gina.user_id, "rag") as as_gateway:
        public = as_gateway.get("/vault-door").json()["public_key"]
        for box in ("AAAA", public):
            assert as_gateway.post("/vault-door/open", json={"box": box}).status_code == 500
    with house.as_gateway("rag") as nobody:
        assert nobody.get("/vault-door").status_code == 403
    emotion = ServiceIdentity.from_settings("emotion", ServiceSettings(data_dir=house.folder))
    with httpx.Client(base_url=house.url("rag"), auth=Caller(emotion, "rag", gina.user_id)) as other:
        assert [other.get("/vault-door").status_code, other.post("/vault-door/close").status_code] == [403, 403]
    assert gina.remembers() == []


def test_a_deleted_user_leaves_nothing_that_opens(house: Sealed) -> None:
    admin, hugo = house.join("first-admin"), house.join("hugo")
    hugo.post("/rag/memory", json={"content": "Mine alone."}).raise_for_status()
    hugo.seal()
    hugo.post("/vault/lock").raise_for_status()
    assert admin.delete(f"/auth/users/{hugo.user_id}").status_code == 204
    (row,) = house.sql("SELECT * FROM user_key WHERE user_id = $1", hugo.user_id)
    assert not any(value for name, value in row.items() if isinstance(value, bytes))
    assert not list((house.folder / "vaults").glob(f"{hugo.user_id}*"))
    with house.client(hugo.user_id, "rag") as http:
        assert http.get("/rag/memories").status_code == 404


def test_a_canary_is_nowhere_in_the_clear(house: Sealed, redis_url: str) -> None:
    """On the disk, in logs, in PostgreSQL, in Redis; and no password or code in a log. Runs after the others."""
    ida = house.join("ida")
    ida.post("/rag/memory", json={"content": CANARY}, headers={"Idempotency-Key": "sealed-1"}).raise_for_status()
    code = ida.seal()
    talk = house.client(ida.user_id, "rag").post("/rag/conversations", json={"title": CANARY}).json()
    assert upload(ida, noise(2), name=f"{CANARY}.wav", context=CANARY, emotion="false").status_code == 201
    ida.post("/vault/lock").raise_for_status()
    assert ida.get(f"/gemma/conversations/{talk['conversation_id']}").status_code in (423, 502)
    ida.unlock(recovery_code=code)
    for path in house.folder.rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            assert CANARY.encode() not in found, path
            if path.suffix == ".log":
                assert not any(each.encode() in found for each in (OLD, NEW, code)), path
    for (table,) in house.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"):
        text = house.sql(f"SELECT string_agg(t::text, ' ') FROM {table} t")
        assert CANARY not in str(text), table
        assert CANARY.encode().hex() not in str(text), table
    store = redis.Redis.from_url(redis_url)
    for key in store.scan_iter():
        kept = (store.dump(key) or b"") + key
        assert CANARY.encode() not in kept and code.encode() not in kept
