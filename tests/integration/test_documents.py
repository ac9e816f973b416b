"""Documents through the gateway, over the real memory service and queue, each a process of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from shared.schemas.ids import new_id
from shared.storage.keyring import MemoryKeyring
from tests.documents_made import docx, encrypted, paragraph, pdf
from tests.gateway_house import bearer, gateway, join, served, settings_for
from tests.integration.transcription_house import House, database

MOST_BYTES = 3 * 1024**2
CANARY = "quetzalcoatl-7341"


class Shelves(House):
    services = ("gpu-coordinator", "rag", "transcription")  # the last has the sound that "all" means too


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: Path
) -> Iterator[House]:
    extra = {"RAG_MAX_DOCUMENT_BYTES": str(MOST_BYTES)}
    running = Shelves(tmp_path_factory.mktemp("shelves"), database(postgres_server), redis_url, **extra)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def http(house: House, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A new user of a gateway before the house."""
    urls = {"rag_url": house.url("rag"), "gpu_coordinator_url": house.url("gpu-coordinator")}
    app = gateway(settings_for(tmp_path / "gateway", **urls), keyring=MemoryKeyring())
    app.state.identity = house.identity
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=120) as client:
        client.headers.update(bearer(await join(client)))
        yield client


async def send(http: httpx.AsyncClient, sent: bytes, name: str = "a.bin", wait_s: float = 60, **more: Any) -> Any:
    files = {"file": (name, sent, "application/x-lie")}
    return await http.post("/rag/documents", files=files, params={"wait_s": wait_s}, **more)


async def sought(http: httpx.AsyncClient, query: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await http.post("/rag/search", json={"query": query, **more})).json()
    return found


async def test_a_pdf_is_found_by_its_page(http: httpx.AsyncClient) -> None:
    data = pdf("The garden needs water in July.", "The spare key lies under the blue flower pot.", "Nothing here.")
    answer = await send(http, data, "House rules.docx", data={"tags": "home, rules"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/rag/documents/{made['document_id']}"
    told = {name: made[name] for name in ("status", "type", "title", "pages", "chunks", "tags", "warnings", "filename")}
    assert told == {
        "status": "completed", "type": "pdf", "title": "House rules", "pages": 3, "chunks": 3, "warnings": [],
        "tags": ["home", "rules"], "filename": "House rules.docx",
    }  # fmt: skip
    best = (await sought(http, "where is the spare key"))[0]
    facts = best["metadata"]
    assert best["content"] == "The spare key lies under the blue flower pot."
    assert (facts["document_id"], facts["page"], facts["title"]) == (made["document_id"], 2, "House rules")
    assert facts["end_offset"] - facts["offset"] == len(best["content"]) and facts["memory_type"] == "document"
    assert (await http.get(f"/rag/documents/{made['document_id']}")).json() == made
    assert (await http.get("/rag/documents")).json()["data"] == [made]
    assert (await http.get("/rag/memories")).json()["data"] == [], "passages are listed only when asked for"
    assert len((await http.get("/rag/memories", params={"memory_type": "document"})).json()["data"]) == 3


async def test_the_file_comes_back_as_it_was_and_only_to_be_saved(http: httpx.AsyncClient) -> None:
    page = b"<html><body><script>alert(1)</script>Words.</body></html>"
    made = (await send(http, page, '../../x"\r\nSet-Cookie: a=b; .html')).json()
    answer = await http.get(f"/rag/documents/{made['document_id']}/file")
    assert answer.content == page and answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers
    assert int(answer.headers["content-length"]) == len(page)


async def test_deleted_means_gone(http: httpx.AsyncClient, house: House) -> None:
    made = (await send(http, f"The word is {CANARY}.".encode())).json()
    path = f"/rag/documents/{made['document_id']}"
    assert list((house.folder / "documents").glob(f"*/{made['document_id']}"))
    assert (await sought(http, CANARY, mode="text"))[0]["metadata"]["document_id"] == made["document_id"]
    assert (await http.delete(path)).status_code == 204
    for answer in (await http.get(path), await http.get(f"{path}/file"), await http.delete(path)):
        assert answer.status_code == 404
    assert not await sought(http, CANARY) and not await sought(http, CANARY, mode="text")
    assert not list((house.folder / "documents").glob(f"*/{made['document_id']}"))


async def test_clearing_the_vault_clears_documents_and_their_files(http: httpx.AsyncClient, house: House) -> None:
    made = (await send(http, b"Soon forgotten.")).json()
    assert (await http.delete("/rag/all")).status_code == 204
    assert (await http.get("/rag/documents")).json()["data"] == [] and not await sought(http, "forgotten")
    assert not list((house.folder / "documents").glob(f"*/{made['document_id']}"))
    assert (await send(http, b"Begun anew.")).status_code == 201


async def test_nothing_is_on_the_disk_in_the_clear(http: httpx.AsyncClient, house: House) -> None:
    answer = await send(http, f"The canary is {CANARY}.".encode() * 50, f"{CANARY}.txt")
    assert answer.status_code == 201
    for path in house.folder.rglob("*"):
        if path.is_file():
            assert CANARY not in path.name and CANARY.encode() not in path.read_bytes(), path


async def test_what_is_sent_twice_is_kept_once(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": new_id("key")}
    first, second = [await send(http, b"Only once.", headers=headers) for _ in range(2)]
    assert first.json() == second.json() and second.headers["idempotency-replayed"] == "true"
    assert len((await http.get("/rag/documents")).json()["data"]) == 1
    assert (await send(http, b"Something else.", headers=headers)).status_code == 422


async def test_who_does_not_wait_follows_the_job(http: httpx.AsyncClient) -> None:
    answer = await send(http, b"A sentence of some length, to be read. " * 2_000, wait_s=0)
    assert answer.status_code == 202
    accepted = answer.json()
    assert answer.headers["location"] == f"/jobs/{accepted['job_id']}"
    made = await read(http, accepted["document_id"])
    assert made["status"] == "completed" and made["chunks"] > 50
    async with asyncio.timeout(30):
        while (job := (await http.get(f"/jobs/{accepted['job_id']}")).json())["state"] != "succeeded":
            await asyncio.sleep(0.05)
    assert job["result"] == {"passages": made["chunks"]}


async def read(http: httpx.AsyncClient, document_id: str) -> dict[str, Any]:
    """The document once somebody has read it."""
    async with asyncio.timeout(150):
        while True:
            found: dict[str, Any] = (await http.get(f"/rag/documents/{document_id}")).json()
            if found["status"] != "processing":
                return found
            await asyncio.sleep(0.1)


@pytest.mark.timeout(400)
async def test_a_kill_in_the_middle_of_reading_loses_nothing_and_doubles_nothing(
    http: httpx.AsyncClient, house: House
) -> None:
    text = "".join(f"Sentence number {n} speaks of matter {n * 7}. " for n in range(1_500))
    accepted = (await send(http, text.encode(), wait_s=0)).json()
    async with asyncio.timeout(60):
        while (await http.get(f"/rag/documents/{accepted['document_id']}")).json()["chunks"] == 0:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(house.kill, "rag")
    await asyncio.to_thread(house.start, "rag")
    made = await read(http, accepted["document_id"])
    assert made["status"] == "completed"
    undisturbed = (await send(http, text.encode())).json()
    assert made["chunks"] == undisturbed["chunks"]
    hits = await sought(http, "number 1234", mode="text", top_k=10)
    per_document = [hit["metadata"]["document_id"] for hit in hits if "number 1234 " in hit["content"]]
    assert 1 <= per_document.count(made["document_id"]) == per_document.count(undisturbed["document_id"])


# -- what nobody should send


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "document_unreadable"),
        (b"\x89PNG" + bytes(50), 415, "unsupported_media"),
        (bytes(100), 415, "unsupported_media"),
        (encrypted(pdf("x"), "secret"), 422, "document_unreadable"),
        (docx(paragraph("a" * 30_000_000)), 422, "document_unreadable"),
        (b"PK\x03\x04 no archive", 422, "document_unreadable"),
    ],
    ids=["empty", "picture", "nulls", "password", "bomb", "no archive"],
)
async def test_what_cannot_be_read_is_refused_and_not_kept(
    http: httpx.AsyncClient, house: House, data: bytes, status: int, code: str
) -> None:
    answer = await send(http, data)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert "Traceback" not in answer.text and problem["detail"].endswith(".")
    assert (await http.get("/rag/documents")).json()["data"] == []


async def test_who_did_not_wait_reads_later_why_it_failed(http: httpx.AsyncClient) -> None:
    accepted = (await send(http, encrypted(pdf("x"), "secret"), wait_s=0)).json()
    made = await read(http, accepted["document_id"])
    assert made["status"] == "failed" and made["error_code"] == "document_unreadable" and "password" in made["error"]
    assert (await http.delete(f"/rag/documents/{made['document_id']}")).status_code == 204


async def test_more_than_allowed_is_refused(http: httpx.AsyncClient, house: House) -> None:
    answer = await send(http, b"word " * (MOST_BYTES // 5 + 1000))
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"
    files = house.folder / "documents"
    assert not list(files.rglob("*.part")) and (await http.get("/rag/documents")).json()["data"] == []


async def test_a_claim_of_two_gigabytes_is_refused_before_a_byte_is_read(http: httpx.AsyncClient) -> None:
    url = urlsplit(str(http.base_url))

    def ask() -> bytes:
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=20) as open_socket:
            head = (
                f"POST /rag/documents HTTP/1.1\r\nHost: x\r\nAuthorization: {http.headers['authorization']}\r\n"
                f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {2 * 1024**3}\r\n\r\n"
            )
            open_socket.sendall(head.encode())
            return open_socket.recv(4096)

    assert b" 413 " in (await asyncio.to_thread(ask)).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"--b\r\n", "multipart/form-data; boundary=b", 400),
        (b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", 422),
        (b"{}", "application/json", 415),
        (b"x", "multipart/form-data", 415),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_form_is_refused(http: httpx.AsyncClient, body: bytes, kind: str, status: int) -> None:
    answer = await http.post("/rag/documents", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert (await http.get("/rag/documents")).json()["data"] == []


async def test_wrong_options_are_named_and_nothing_is_kept(http: httpx.AsyncClient) -> None:
    answer = await send(http, b"Words.", data={"title": "x" * 300, "colour": "red"})
    assert answer.status_code == 422
    assert {each["pointer"] for each in answer.json()["errors"]} == {"/title", "/colour"}
    assert (await http.get("/rag/documents")).json()["data"] == []


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..\\..\\boot.ini", "a\x00b.txt", "x" * 3000, "‮fdp.exe", "", "-rf", "con.txt", ".."]
)
async def test_a_hostile_name_is_only_shown(http: httpx.AsyncClient, house: House, name: str) -> None:
    answer = await send(http, b"Words of the file.", name or "x")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert "/" not in (made["filename"] or "") and len(made["filename"] or "") <= 200 and made["title"]
    named = {each.name for each in (house.folder / "documents").rglob("*") if each.is_file()}
    assert all(each.startswith("doc_") for each in named)
    assert (await http.get(f"/rag/documents/{made['document_id']}/file")).content == b"Words of the file."


async def test_one_user_never_meets_anothers_document(http: httpx.AsyncClient) -> None:
    made = (await send(http, f"Mine: {CANARY}.".encode())).json()
    http.headers.update(bearer(await join(http, "ben")))
    path = f"/rag/documents/{made['document_id']}"
    for answer in (await http.get(path), await http.get(f"{path}/file"), await http.delete(path)):
        assert answer.status_code == 404
    assert not await sought(http, CANARY) and (await http.get("/rag/documents")).json()["data"] == []


# -- the whole vault


async def test_a_vault_moves_from_one_user_to_another(http: httpx.AsyncClient) -> None:
    made = (await send(http, pdf("Nothing.", "The spare key lies under the blue pot."), "rules.pdf")).json()
    await http.post("/rag/memory", json={"content": "The dentist is on Thursday."})
    answer = await http.get("/rag/export")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="nemo-vault.zip"'
    assert (await http.delete("/rag/all")).status_code == 204
    http.headers.update(bearer(await join(http, "ben")))
    back = await http.post("/rag/import", files={"file": answer.content})
    assert back.status_code == 200, back.text
    told = back.json()
    assert told["parts"]["memories"]["imported"] == 3 and told["files"]["imported"] == 1
    assert back.headers["location"] == f"/jobs/{told['job_id']}"
    async with asyncio.timeout(90):
        while (await http.get(back.headers["location"])).json()["state"] != "succeeded":
            await asyncio.sleep(0.1)
    best = (await sought(http, "how do I get into the house", mode="vector"))[0]["metadata"]
    assert (best["document_id"], best["page"]) == (made["document_id"], 2)
    assert (await http.get(f"/rag/documents/{made['document_id']}/file")).content.startswith(b"%PDF")


async def test_what_is_no_export_is_refused_with_a_word_for_programs(http: httpx.AsyncClient) -> None:
    answer = await http.post("/rag/import", files={"file": b"PK\x03\x04 nothing"})
    assert answer.status_code == 422 and answer.json()["code"] == "import_refused"


async def test_retention_is_set_applied_and_shown(http: httpx.AsyncClient) -> None:
    assert (await http.get("/rag/retention")).json()["last_run"] is None
    await send(http, b"Young enough.")
    told = (await http.put("/rag/retention", json={"documents_days": 30})).json()
    assert told["rules"] == {
        "transcripts_days": None,
        "documents_days": 30,
        "conversations_days": None,
        "audio_days": None,
    }
    assert told["last_run"]["verified"] and told["last_run"]["removed"] == {"documents": 0}
    assert (await http.get("/rag/retention")).json() == told
    for wrong in ({"documents_days": 0}, {"document_days": 3}):
        assert (await http.put("/rag/retention", json=wrong)).status_code == 422
