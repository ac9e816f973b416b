"""TLS before the platform as docker/proxy/nginx.conf has it, by Debian's nginx: what works without it works through it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.audio.decode import decode
from tests.bad_days import poll
from tests.conftest import AUDIO, Platform, connect
from tests.gateway_house import PASSWORD
from tests.nginx_house import ABSENT, NGINX, Nginx

pytestmark = pytest.mark.skipif(NGINX is None, reason=ABSENT)

MIB = 1024**2
UPLOAD_BYTES = 200 * MIB
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Platform]:
    """A platform that is told of the proxy before it."""
    del models_dir
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUSTED_PROXIES", "127.0.0.1")
        running = Platform(tmp_path_factory.mktemp("proxied") / "data")
        try:
            running.start(wait_s=300)
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def nginx(proxied: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    running = Nginx(tmp_path_factory.mktemp("nginx") / "prefix", [proxied.url.removeprefix("http://")])
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def anna(nginx: Nginx) -> Iterator[httpx.Client]:
    """Signed in through the proxy: the first user, since everybody after needs an admin."""
    with httpx.Client(base_url=nginx.url, verify=nginx.trust, timeout=120) as http:
        body = {"username": "anna", "password": PASSWORD}
        made = http.post("/auth/register", json=body)
        assert made.status_code == 201, made.text
        token = http.post("/auth/login", json=body).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        yield http


def test_plain_http_is_sent_to_https(nginx: Nginx) -> None:
    answer = httpx.get(f"{nginx.plain}/auth/me?x=1", headers={"Host": "somewhere.else"})
    assert answer.status_code == 308
    assert answer.headers["location"] == "https://nemo.example.org/auth/me?x=1", "not to where the client says"


def test_browsers_are_told_to_stay_on_https(anna: httpx.Client, proxied: Platform) -> None:
    for path in ("/live", "/auth/me", "/nowhere-at-all"):
        assert anna.get(path).headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert "content-security-policy" in anna.get("/auth/me").headers, "the gateway's own headers stay"
    assert "strict-transport-security" not in httpx.get(f"{proxied.url}/live").headers


@pytest.mark.parametrize(
    ("version", "welcome"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_old_tls_is_refused(nginx: Nginx, version: ssl.TLSVersion, welcome: bool) -> None:
    context = nginx.trust
    context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL would not even offer the old one
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    try:
        assert httpx.get(f"{nginx.url}/live", verify=context).status_code == 200
        assert welcome
    except httpx.ConnectError as error:
        assert not welcome, error


def test_the_cookie_of_a_sign_in_is_secure(anna: httpx.Client, nginx: Nginx, proxied: Platform) -> None:
    body = {"username": "anna", "password": PASSWORD, "cookie": True}
    with httpx.Client(base_url=nginx.url, verify=nginx.trust) as browser:
        cookie = browser.post("/auth/login", json=body).headers["set-cookie"].split("; ")
        assert {"Secure", "HttpOnly", "SameSite=strict"} <= set(cookie)
        refreshed = browser.post("/auth/refresh", json={})
        assert refreshed.status_code == 200 and "Secure" in refreshed.headers["set-cookie"]
    bare = httpx.post(f"{proxied.url}/auth/login", json=body).headers["set-cookie"].split("; ")
    assert "Secure" not in bare, "without the proxy there is no TLS"


def test_the_audit_log_has_the_clients_address_not_what_it_claims(anna: httpx.Client) -> None:
    body = {"username": "anna", "password": PASSWORD}
    claims = {"X-Forwarded-For": "203.0.113.5", "Forwarded": "for=203.0.113.5", "X-Real-IP": "203.0.113.5"}
    assert anna.post("/auth/login", json=body, headers=claims).status_code == 200
    assert anna.get("/admin/audit").json()["data"][0]["address"] == "127.0.0.1"


def test_figures_stay_inside(anna: httpx.Client, proxied: Platform) -> None:
    assert httpx.get(f"{proxied.url}/metrics").status_code == 200
    assert anna.get("/metrics").status_code in (401, 403)


def test_a_request_id_goes_through_or_is_made(anna: httpx.Client, nginx: Nginx) -> None:
    assert anna.get("/auth/me", headers={"X-Request-Id": "my-own-id-7"}).headers["x-request-id"] == "my-own-id-7"
    made = anna.get("/auth/me").headers["x-request-id"]
    assert len(made) == 32
    poll(lambda: made in nginx.log)  # it writes the line when the answer has gone


def test_http_2_is_spoken(nginx: Nginx) -> None:
    context = nginx.trust
    context.set_alpn_protocols(["h2"])
    host, _, port = nginx.url.removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        assert tls.selected_alpn_protocol() == "h2" and tls.version() == "TLSv1.3"


async def test_a_live_recording_over_wss(anna: httpx.Client, nginx: Nginx) -> None:
    pcm = (await decode((AUDIO / "jfk.flac").read_bytes())).mono().tobytes()
    ticket = anna.post("/auth/ticket").json()["ticket"]
    address = f"{nginx.url.replace('https', 'wss')}/transcription/stream?ticket={ticket}"
    events: list[dict[str, Any]] = []
    with connect(address, ssl=nginx.trust) as live:
        live.send(json.dumps({"type": "start", "sample_rate_hz": 16_000}))
        for at in range(0, len(pcm), 3_200):
            live.send(pcm[at : at + 3_200])
        live.send('{"type": "stop"}')
        while not events or events[-1]["type"] != "end":
            events.append(json.loads(live.recv(timeout=120)))
    assert "fellow" in " ".join(each["text"] for each in events if each["type"] == "final")
    assert ticket not in nginx.log, "what lets somebody in is in no log"


def test_events_come_while_the_answer_is_open(anna: httpx.Client) -> None:
    """The stream has no end, so whatever is read of it was not kept back."""
    with anna.stream("GET", "/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": hello"
        sound = {"file": ("jfk.flac", (AUDIO / "jfk.flac").read_bytes(), "audio/flac")}
        sent = anna.post("/transcription/upload?wait_s=0", files=sound)
        assert sent.status_code == 202, sent.text
        heard = next(line for line in lines if line.startswith("data: "))
    assert json.loads(heard.removeprefix("data: "))


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_large_upload_streams_through(anna: httpx.Client, nginx: Nginx) -> None:
    """The last byte is not sent before the platform has taken most of the others, and nginx keeps none in a file."""
    length = TUS | {"Upload-Length": str(UPLOAD_BYTES + 1)}
    where = anna.post("/transcription/uploads", headers=length).headers["location"]
    before, seen = files_below(nginx.folder), set[Path]()

    def pieces() -> Iterator[bytes]:
        for _ in range(UPLOAD_BYTES // MIB):
            seen.update(files_below(nginx.folder / "tmp"))
            yield bytes(MIB)

    headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    answer = anna.patch(where, content=pieces(), headers=headers | {"Content-Length": str(UPLOAD_BYTES)})
    assert answer.status_code == 204, answer.text
    assert anna.head(where, headers=TUS).headers["upload-offset"] == str(UPLOAD_BYTES)
    assert seen <= before and files_below(nginx.folder) == before
    assert anna.delete(where, headers=TUS).status_code == 204


def test_an_upload_that_stops_halfway_has_reached_the_platform(anna: httpx.Client, nginx: Nginx) -> None:
    """Proof that nothing waits in the proxy: what was sent counts, though the request never ended."""
    where = anna.post("/transcription/uploads", headers=TUS | {"Upload-Length": str(8 * MIB)}).headers["location"]
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield bytes(4 * MIB)
        go_on.wait(90)
        raise ConnectionError("the phone lost its network")

    def send() -> None:
        headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        phone = httpx.Client(base_url=nginx.url, verify=nginx.trust, headers=anna.headers)
        with phone, suppress(ConnectionError):
            phone.patch(where, content=pieces(), headers=headers | {"Content-Length": str(8 * MIB)})

    sending = threading.Thread(target=send)
    sending.start()
    deadline, offset = time.monotonic() + 60, 0
    while offset == 0 and time.monotonic() < deadline:
        time.sleep(0.2)
        offset = int(anna.head(where, headers=TUS).headers.get("upload-offset", 0))
    go_on.set()
    sending.join()
    assert 0 < offset <= 4 * MIB
    assert anna.delete(where, headers=TUS).status_code == 204


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(anna: httpx.Client, nginx: Nginx) -> None:
    asked = HTTPSConnection(nginx.url.removeprefix("https://"), context=nginx.trust, timeout=60)
    asked.putrequest("POST", "/transcription/upload")
    asked.putheader("Authorization", anna.headers["Authorization"])
    asked.putheader("Content-Length", str(1026 * MIB))
    asked.endheaders()
    assert asked.getresponse().status == 413
    asked.close()
