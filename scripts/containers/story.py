"""The README's calls through the published port, and what they left behind."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from typing import Any

from containers.engine import ROOT

PASSWORD = "correct horse battery"
WAIT_S = 300.0
MODEL = "smollm2-135m-instruct-q4_1"
SPEECH = ROOT / "tests/fixtures/audio/jfk.flac"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Story:
    """One user, from the first account to the export."""

    def __init__(self, url: str) -> None:
        self._url, self._token = url, ""

    def tell(self) -> None:
        """Raises AssertionError at the first answer that is not what the README shows."""
        self._account()
        self._recording()
        self._memories()
        self._answers()
        health = self.json("GET", "/health")
        assert health["status"] == "ok" and len(health["services"]) == 7, health

    def _account(self) -> None:
        made = self.json("POST", "/auth/register", {"username": "anna", "password": PASSWORD})
        assert made["user"]["role"] == "admin", made
        self.sign_in()

    def sign_in(self) -> None:
        self._token = self.json("POST", "/auth/login", {"username": "anna", "password": PASSWORD})["access_token"]

    def _recording(self) -> None:
        done = self.upload("A speech")
        assert "ask not what your country can do for you" in done["text"], done["text"]
        assert done["segments"][0]["emotion"]["label"], done["segments"][0]
        vtt = self._send("GET", f"/transcription/{done['transcript_id']}/export?format=vtt").decode()
        assert vtt.startswith("WEBVTT") and "-->" in vtt, vtt[:200]

    def upload(self, title: str) -> dict[str, Any]:
        """A recording, once its words are there."""
        boundary = uuid.uuid4().hex
        body = b"".join((
            f'--{boundary}\r\nContent-Disposition: form-data; name="title"\r\n\r\n{title}\r\n'.encode(),
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="jfk.flac"\r\n'
            "Content-Type: audio/flac\r\n\r\n".encode(),
            SPEECH.read_bytes(),
            f"\r\n--{boundary}--\r\n".encode(),
        ))  # fmt: skip
        told = json.loads(
            self._send("POST", "/transcription/upload", body, f"multipart/form-data; boundary={boundary}")
        )
        deadline = time.monotonic() + WAIT_S
        while told["status"] != "completed":
            assert told["status"] not in ("failed", "cancelled") and time.monotonic() < deadline, told
            time.sleep(1)
            told = self.json("GET", f"/transcription/{told['transcript_id']}")
        return dict(told)

    def _memories(self) -> None:
        self.json("POST", "/rag/memory", {"content": "The spare key is under the blue flower pot.", "tags": ["home"]})
        deadline = time.monotonic() + WAIT_S
        while not (found := self.json("POST", "/rag/search", {"query": "the duty of a citizen", "top_k": 3})):
            assert time.monotonic() < deadline, "the recording did not come into the vault"
            time.sleep(1)
        assert any("ask not" in each["content"] for each in found), found
        (key, *_) = self.json("POST", "/rag/search", {"query": "where is the key?", "top_k": 1})
        assert "flower pot" in key["content"], key
        boundary = uuid.uuid4().hex
        page = b"<h1>Visit</h1><p>The plumber comes on Tuesday.</p>"
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="visit.html"\r\n'
            "Content-Type: text/html\r\n\r\n"
        ).encode() + page + f"\r\n--{boundary}--\r\n".encode()  # fmt: skip
        self._send("POST", "/rag/documents", body, f"multipart/form-data; boundary={boundary}")
        while not (found := self.json("POST", "/rag/search", {"query": "the plumber", "top_k": 1})) or (
            "plumber" not in found[0]["content"]  # read by a process of its own, which must work in a container too
        ):
            assert time.monotonic() < deadline, "the document was not read"
            time.sleep(1)

    def _answers(self) -> None:
        chat = self.json("POST", "/gemma/chat", {"message": "What should Americans ask about their country?"})
        assert chat["citations"], chat
        feeling = self.json("POST", "/emotion/analyze", {"text": "What a lovely surprise!"})
        assert feeling, feeling
        spoken = self._send(
            "POST", "/v1/audio/speech",
            json.dumps({"model": "piper", "input": "Ask.", "voice": "joe", "response_format": "wav"}).encode(),
        )  # fmt: skip
        assert spoken[:4] == b"RIFF" and len(spoken) > 5000, spoken[:60]
        hello = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
        written = self.json("POST", "/v1/chat/completions", hello)
        assert written["choices"][0]["message"]["content"], written

    def holdings(self) -> dict[str, str]:
        """Everything the user has, sound included: name and SHA-256 of each file of the export."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                with zipfile.ZipFile(io.BytesIO(self._send("GET", "/rag/export?audio=true"))) as archive:
                    manifest = json.loads(archive.read("manifest.json"))
                assert not manifest["missing"], manifest["missing"]
                return {each["name"]: each["sha256"] for each in manifest["members"]}
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def settled(self) -> dict[str, str]:
        """What there is once nothing is learned any more in the background."""
        deadline, before = time.monotonic() + WAIT_S, self.holdings()
        while True:
            time.sleep(4)
            now = self.holdings()
            if now == before:
                return now
            assert time.monotonic() < deadline, "the vault does not come to rest"
            before = now

    def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self._send(method, path, None if body is None else json.dumps(body).encode()))

    def _send(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        request = urllib.request.Request(self._url + path, data=body, method=method, headers=headers)
        try:
            with opener.open(request, timeout=WAIT_S) as answer:
                told: bytes = answer.read()
                return told
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:600]!r}") from error
        except OSError as error:
            raise AssertionError(f"{method} {path}: {error}") from error
