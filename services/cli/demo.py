"""`nemo demo`: a bundled conversation, from upload to an answer with its second of proof."""

from __future__ import annotations

import json
import time
from getpass import getpass
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

from services.cli.look import gateway_url
from services.cli.up import directly
from shared.settings import ServiceSettings

RECORDING = Path(__file__).with_name("demo.ogg")
SEARCH = "advice about not giving up"
QUESTION = "What should a doctor do when in doubt?"
BOUNDARY = "nemo-demo-boundary-7d1f"


class Refused(RuntimeError):
    """The server said no; the message is its reason."""


class Caller:
    """The public API, as any script would call it."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._token: str | None = None

    def call(self, method: str, path: str, body: Any = None, *, raw: tuple[bytes, str] | None = None) -> Any:
        data, kind = raw or (None if body is None else json.dumps(body).encode(), "application/json")
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        request = Request(self._base + path, data=data, headers=headers, method=method)
        try:
            with directly.open(request, timeout=330) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise Refused(_reason(error)) from error

    def sign_in(self, username: str, password: str) -> None:
        """Into the account, or into a new one. Raises Refused with the server's reason."""
        credentials = {"username": username, "password": password}
        try:
            answer = self.call("POST", "/auth/login", credentials)
        except Refused as wrong:
            try:
                self.call("POST", "/auth/register", credentials)
            except Refused as refused:
                raise wrong if "taken" in str(refused) else refused from None
            print(f"made the account {username!r}")
            answer = self.call("POST", "/auth/login", credentials)
        self._token = answer["access_token"]


def _reason(error: HTTPError) -> str:
    try:
        problem = json.load(error)
        return "; ".join(each["detail"] for each in problem.get("errors") or []) or str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def run(settings: ServiceSettings, username: str, password: str | None) -> int:
    caller = Caller(gateway_url(settings.data_dir))
    try:
        caller.call("GET", "/health")
        caller.sign_in(username, password or getpass(f"Password for {username} (at least 12 characters): "))
        transcript = _upload(caller)
        _show(transcript)
        _search(caller)
        _ask(caller)
    except EOFError:
        print("Nobody to ask for a password here; give one with --password.")
        return 1
    except Refused as refused:
        print(f"!!  {refused}")
        return 1
    except (URLError, OSError):
        print("The gateway does not answer. Start the platform with `make up` first.")
        return 1
    return 0


def _upload(caller: Caller) -> dict[str, Any]:
    print("uploading the demo conversation")
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nDemo conversation\r\n'
    file = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="demo.ogg"\r\n'
        "Content-Type: audio/ogg\r\n\r\n"
    )
    body = (head + file).encode() + RECORDING.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    found: dict[str, Any] = caller.call("POST", "/transcription/upload?wait_s=120", raw=(body, kind))
    while found["status"] in ("queued", "processing"):
        time.sleep(1)
        found = caller.call("GET", f"/transcription/{found['transcript_id']}")
    return found


def _show(transcript: dict[str, Any]) -> None:
    if transcript["status"] != "completed":
        raise Refused(transcript.get("error") or f"the recording is {transcript['status']}")
    print(f"\n{transcript['title']} ({transcript['duration_s']:.0f} s)")
    for segment in transcript["segments"]:
        emotion = (segment.get("emotion") or {}).get("label", "")
        print(f"  {segment['start_s']:6.1f}  {segment['speaker']}  {segment['text']}  [{emotion}]")


def _search(caller: Caller) -> None:
    print(f"\nyou search: {SEARCH}")
    for hit in caller.call("POST", "/rag/search", {"query": SEARCH, "top_k": 1}):
        print(f"  {_place(hit['metadata'])}  {shorten(hit['content'], 300)}")


def _ask(caller: Caller) -> None:
    print(f"\nyou ask: {QUESTION}")
    answer = caller.call("POST", "/gemma/chat", {"message": QUESTION})
    print(f"  {answer['response']}")
    for number, citation in enumerate(answer["citations"], start=1):
        print(f"  [{number}] {_place(citation)}  {citation['quote']}")


def _place(where: dict[str, Any]) -> str:
    if where.get("start_s") is None:
        return "a memory"
    return f"{where['transcript_id']} from {where['start_s']:.1f} s"
