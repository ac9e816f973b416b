"""Generated from the routes themselves: each is classified, and nobody gets in without the right to."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from importlib import import_module

import httpx
import numpy as np
import pytest
import soundfile
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from shared.auth.dependencies import classes_of
from shared.schemas.ids import new_id
from shared.service import create_service, require_classified, routes_of
from shared.settings import SERVICE_PORTS, ServiceSettings
from tests.conftest import Platform

SERVICES = sorted(SERVICE_PORTS)


def app_of(service: str) -> FastAPI:
    return import_module(f"services.{service.replace('-', '_')}.app").create_app()


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_has_exactly_one_class(service: str) -> None:
    app = app_of(service)
    require_classified(app)
    found = {path: classes_of(dependant) for path, dependant in routes_of(app) if dependant is not None}
    assert len(found) >= 6
    if service != "api-gateway":
        open_paths = {path for path, classes in found.items() if classes == {"public"}}
        assert open_paths == {"/live", "/ready", "/health"}


def test_an_unclassified_route_does_not_start() -> None:
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="/forgotten"):
        create_service("rag", ServiceSettings(), routers=[router])


PUBLIC = {
    "/auth/register", "/auth/login", "/auth/token", "/auth/refresh", "/live", "/health", "/ready", "/version",
    "/metrics", "/openapi.json", "/.well-known/nemo-server", "/{path:path}", "/v1/{path:path}",
    "/api/v1/health", "/api/v1/ready", "/api/v1/live", "/api/v1/metrics",
}  # fmt: skip


def gateway_routes() -> list[tuple[str, str, str]]:
    found = []
    for route in iter_route_contexts(app_of("api-gateway").routes):
        for method in route.methods or ():
            (kind,) = classes_of(route.dependant)
            found.append((method, str(route.path), kind))
    return found


def test_the_public_routes_of_the_gateway_are_these() -> None:
    assert {path for _, path, kind in gateway_routes() if kind == "public"} == PUBLIC


CLOSED = [(method, path) for method, path, kind in gateway_routes() if kind != "public"]
ADMIN = [(method, path) for method, path, kind in gateway_routes() if kind == "admin"]
IDS = {"transcript_id": "rec", "memory_id": "mem", "conversation_id": "cnv", "message_id": "msg", "job_id": "job",
       "task_id": "job", "user_id": "usr", "token_id": "pat", "segment_id": "seg", "session_id": "rec",
       "undo_id": "und", "document_id": "doc", "upload_id": "upl",
       "device_id": "ses"}  # fmt: skip


SHARED = ("/v1/models/{model_id:path}",)
"""What everybody who is signed in may read: no user owns it."""


def filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: new_id(IDS.get(found.group(1), "x")), path.replace("{revision}", "1"))


def code_of(answer: httpx.Response) -> str:
    """The word for programs, in our problem or in OpenAI's envelope."""
    body = answer.json()
    return str(body["error"]["code"] if "error" in body else body["code"])


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nobody_gets_in_without_a_token(platform: Platform, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}, {"X-User-Id": "usr_1"}):
        answer = httpx.request(method, platform.url + filled(path), headers=headers, timeout=60)
        assert answer.status_code == 401
        if method == "HEAD":  # has no body
            continue
        assert code_of(answer) == ("invalid_api_key" if path.startswith("/v1/") else "unauthenticated")


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_a_user_is_no_admin(platform: Platform, user_b: httpx.Client, method: str, path: str) -> None:
    body = {"kind": "x"} if path == "/queue/task" else {"role": "admin"}
    answer = user_b.request(method, filled(path), json=body if method in ("POST", "PATCH") else None)
    assert answer.status_code == 403


@pytest.fixture(scope="module")
def user_a(platform: Platform) -> httpx.Client:
    return platform.client("matrix-a")


@pytest.fixture(scope="module")
def user_b(platform: Platform) -> httpx.Client:
    return platform.client("matrix-b")


@pytest.fixture(scope="module")
def belongings(user_a: httpx.Client) -> dict[str, str]:
    return one_of_everything(user_a)


def one_of_everything(user_a: httpx.Client) -> dict[str, str]:
    """That has an id."""
    from tests.conftest import AUDIO

    with (AUDIO / "librivox-sas-0870.wav").open("rb") as file:
        accepted = user_a.post("/transcription/upload", files={"file": file}, params={"wait_s": 0}).json()
    voice, _ = soundfile.read(AUDIO / "librivox-sas-0870.wav", dtype="int16")
    into = io.BytesIO()
    soundfile.write(into, np.stack([voice, np.roll(voice, len(voice) // 2)], axis=1), 16_000, format="WAV")
    call = user_a.post("/api/v1/transcribe", files={"audio": into.getvalue()}, params={"wait_s": 0}).json()
    with (AUDIO / "jfk.flac").open("rb") as file:
        fields = {"speaker_id": "voice_of_a"}
        user_a.post("/transcription/enroll-speaker", files={"audio_file": file}, data=fields).raise_for_status()
    renamed = user_a.patch("/transcription/speakers/voice_of_a", json={"name": "A voice"}).json()
    chat = user_a.post("/gemma/chat", json={"message": "What do I own?", "max_tokens": 1}).json()
    document = user_a.post("/rag/documents", files={"file": ("mine.txt", b"Mine alone.")}, params={"wait_s": 0}).json()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
    upload = user_a.post("/transcription/uploads", headers=headers).raise_for_status().headers["location"]
    return {
        "upload_id": upload.rsplit("/", 1)[1],
        "device_id": user_a.get("/auth/sessions").json()["data"][0]["id"],
        "transcript_id": accepted["transcript_id"],
        "session_id": call["session_id"],
        "job_id": accepted["job_id"],
        "memory_id": user_a.post("/rag/memory", json={"content": "Mine alone."}).json()["memory_id"],
        "document_id": document["document_id"],
        "conversation_id": chat["conversation_id"],
        "message_id": chat["message_id"],
        "segment_id": new_id("seg"),
        "revision": "1",
        "speaker_id": "voice_of_a",
        "undo_id": renamed["undo_id"],
        "token_id": user_a.post("/auth/tokens", json={"name": "x", "scopes": ["memory"]}).json()["id"],
    }


OWNED = [(m, p) for m, p, kind in gateway_routes() if kind == "user" and "{" in p and p not in SHARED]


SEGMENT = "/transcription/{transcript_id}/segments/{segment_id}"
BODIES = {
    "/rag/memory/{memory_id}": {"content": "x"},
    SEGMENT: {"text": "x"},
    "/transcription/speakers/{speaker_id}": {"name": "x"},
    "/transcription/{transcript_id}/speakers": {"speakers": [{"label": "SPEAKER_00", "name": "x"}]},
    f"{SEGMENT}/split": {"at_word": 1},
    f"{SEGMENT}/merge": {},
    "/transcription/{transcript_id}/revert": {"revision": 1},
}


@pytest.mark.parametrize(("method", "path"), OWNED)
def test_another_users_object_is_as_absent_as_none(
    user_a: httpx.Client, user_b: httpx.Client, belongings: dict[str, str], method: str, path: str
) -> None:
    body = BODIES.get(path, {"title": "x"} if method == "PATCH" else None) if method != "DELETE" else None
    theirs = re.sub(r"\{(\w+)\}", lambda found: belongings[found.group(1)], path)
    foreign, absent = (user_b.request(method, each, json=body) for each in (theirs, filled(path)))
    assert foreign.status_code == absent.status_code == 404
    assert method == "HEAD" or foreign.json()["detail"] == absent.json()["detail"]


def test_ids_in_bodies_are_checked_too(user_b: httpx.Client, belongings: dict[str, str]) -> None:
    body = {"message": "Go on.", "conversation_id": belongings["conversation_id"]}
    assert user_b.post("/gemma/chat", json=body).status_code == 404


def test_search_never_crosses_users(user_a: httpx.Client, user_b: httpx.Client) -> None:
    user_a.post("/rag/memory", json={"content": "The canary is called Quetzalcoatl."})
    assert user_a.post("/rag/search", json={"query": "canary"}).json()
    for query in ("canary", "Quetzalcoatl", "the canary's name"):
        assert user_b.post("/rag/search", json={"query": query}).json() == []
        assert user_b.post("/gemma/chat", json={"message": query, "max_tokens": 1}).json()["citations"] == []


def test_no_mass_assignment(platform: Platform, user_b: httpx.Client) -> None:
    body = {"username": "sneaky", "password": "a long enough pass phrase", "role": "admin"}
    assert httpx.post(f"{platform.url}/auth/register", json=body, timeout=60).status_code == 422
    memory = user_b.post("/rag/memory", json={"content": "x"}).json()
    assert user_b.post("/rag/memory", json=memory).status_code == 422


KEYLESS = {
    *(each for each in CLOSED if each[1].startswith(("/auth/", "/vault", "/jobs", "/gpu/", "/emotion/", "/v1/"))),
    ("GET", "/events"),
    ("OPTIONS", "/transcription/uploads"),
    ("POST", "/rag/rebuild-index"),  # a job: it waits
    ("POST", "/gemma/messages/{message_id}/cancel"),  # of answers that are being written
    ("GET", "/gemma/messages/{message_id}/events"),
}
"""What a user may call while the vault is locked; every other route needs its key."""
BY_KEY = [(m, p) for m, p, kind in gateway_routes() if kind == "user" and (m, p) not in KEYLESS]
FORMS = {
    "/transcription/upload": {"files": {"file": b"RIFF"}},
    "/api/v1/transcribe": {"files": {"audio": b"RIFF"}},
    "/transcription/enroll-speaker": {"files": {"audio_file": b"RIFF"}, "data": {"speaker_id": "x"}},
    "/rag/documents": {"files": {"file": b"Some words."}},
    "/rag/import": {"files": {"file": b"PK"}},
    "/transcription/uploads": {"headers": {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}},
}
SENT = BODIES | {
    "/rag/memory": {"content": "x"},
    "/rag/search": {"query": "x"},
    "/gemma/chat": {"message": "What do I own?"},
    "/rag/retention": {"transcripts_days": 30},
    "/transcription/{transcript_id}/summary": {"mode": "extractive"},
}


@pytest.fixture(scope="module")
def locked(platform: Platform) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """A user whose vault is sealed and locked, and what is in it."""
    user = platform.client("matrix-sealed")
    owned = one_of_everything(user)
    for job in ("transcript_id", "session_id"):
        deadline = time.monotonic() + 300
        while user.get(f"/transcription/{owned[job]}").json()["status"] != "completed":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    user.post("/vault/seal", json={"password": "a long enough pass phrase"}).raise_for_status()
    user.post("/vault/lock").raise_for_status()
    yield user, owned
    user.close()


@pytest.mark.parametrize(("method", "path"), BY_KEY)
def test_a_locked_vault_is_neither_read_nor_written(
    locked: tuple[httpx.Client, dict[str, str]], method: str, path: str
) -> None:
    user, owned = locked
    where = re.sub(r"\{(\w+)\}", lambda found: owned[found.group(1)], path)
    what = FORMS.get(path, {}) if method == "POST" else {}
    if method in ("POST", "PATCH", "PUT") and not what:
        what = {"json": SENT.get(path, {"title": "x"})}
    answer = user.request(method, where, **what)
    assert answer.status_code == 423, answer.text
    assert method == "HEAD" or code_of(answer) == "vault_locked"
