"""What people and attackers send instead of a recording."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.integration.transcription_house import SENSE, House, database, spoken, upload, wav

BOUNDARY = "b0undary"


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: object
) -> Iterator[House]:
    """With limits that a test can reach."""
    running = House(
        tmp_path_factory.mktemp("bad"),
        database(postgres_server),
        redis_url,
        TRANSCRIPTION_MAX_UPLOAD_BYTES="3000000",
        TRANSCRIPTION_MAX_DURATION_S="30",
        TRANSCRIPTION_CLIP_BYTES="100000",
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def user(house: House) -> httpx.Client:
    return house.client()


def lying_header(seconds: float) -> bytes:
    """144 bytes that claim to be hours."""
    claimed = int(seconds * 32_000) & 0xFFFFFFFF
    head = (
        b"RIFF" + struct.pack("<I", claimed + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    )
    return head + b"data" + struct.pack("<I", claimed) + bytes(100)


def odd_rate(rate_hz: int) -> bytes:
    head = (
        b"RIFF" + struct.pack("<I", 1036) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    )
    return head + b"data" + struct.pack("<I", 1000) + bytes(1000)


NO_SOUND = {
    "empty": b"",
    "text": b"I am not a recording at all. " * 40,
    "random": np.random.default_rng(1).bytes(50_000),
    "html": b"<html><script>alert(1)</script></html>",
    "picture": b"\x89PNG\r\n\x1a\n" + np.random.default_rng(2).bytes(9_000),
    "archive": b"PK\x03\x04" + np.random.default_rng(3).bytes(9_000),
    "header only": SENSE.read_bytes()[:44],
    "half a header": SENSE.read_bytes()[:20],
    "no samples": wav(np.zeros(0)),
    "1 Hz": odd_rate(1),
    "0 Hz": odd_rate(0),
    "playlist": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "half an m4a": b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00" + bytes(5_000),
}


@pytest.mark.parametrize("what", NO_SOUND)
def test_no_sound(user: httpx.Client, what: str) -> None:
    answer = upload(user, NO_SOUND[what], name="song.mp3")
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "audio_unreadable" and problem["detail"].count(".") >= 1
    assert "Traceback" not in answer.text and "/work" not in answer.text


def test_what_cannot_be_read_is_kept_for_its_owner(user: httpx.Client) -> None:
    detail = upload(user, NO_SOUND["text"]).json()["detail"]
    transcript_id = next(word.strip(".,;") for word in detail.split() if word.startswith("rec_"))
    kept = user.get(f"/transcription/{transcript_id}").json()
    assert (kept["status"], kept["error_code"]) == ("failed", "audio_unreadable")
    assert user.get(f"/transcription/{transcript_id}/audio").content == NO_SOUND["text"]
    assert user.delete(f"/transcription/{transcript_id}").status_code == 204


def test_a_header_that_claims_hours_costs_nothing(user: httpx.Client) -> None:
    transcript = upload(user, lying_header(134_217)).json()
    assert transcript["status"] == "completed" and transcript["duration_s"] < 1


def test_too_long(user: httpx.Client) -> None:
    answer = upload(user, wav(np.zeros(31 * 16_000)))
    assert (answer.status_code, answer.json()["code"]) == (422, "audio_too_long")
    assert "longer than 30 s" in answer.json()["detail"]


def test_too_large(user: httpx.Client, house: House) -> None:
    before = {path for path in (house.folder / "blobs").rglob("*") if path.is_file()}
    answer = upload(user, bytes(3_500_000))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert {path for path in (house.folder / "blobs").rglob("*") if path.is_file()} == before
    with house.as_gateway() as gateway:
        clip = gateway.post("/transcription/clip", files={"file": bytes(200_000)})
        assert clip.status_code == 413 and "upload longer ones" in clip.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"language": "xx-invalid"}, "/language"),
        ({"language": "de"}, "/language"),
        ({"num_speakers": "many"}, "/num_speakers"),
        ({"num_speakers": "0"}, "/num_speakers"),
        ({"max_speakers": "9999"}, "/max_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "/"),
        ({"channels": "quadro"}, "/channels"),
        ({"diarize": "perhaps"}, "/diarize"),
        ({"emotion": "[]"}, "/emotion"),
        ({"title": "x" * 5_000}, "/title"),
        ({"context": "x" * 5_000}, "/context"),
        ({"tags": ",".join(f"t{n}" for n in range(60))}, "/tags"),
        ({"langauge": "en"}, "/langauge"),
    ],
)
def test_wrong_fields_are_named(user: httpx.Client, house: House, fields: dict[str, str], pointer: str) -> None:
    answer = upload(user, SENSE, **fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_another_language_names_the_way_out(user: httpx.Client) -> None:
    assert "TRANSCRIPTION_MODEL" in upload(user, SENSE, language="de").json()["detail"]


def test_a_field_as_long_as_a_book(user: httpx.Client) -> None:
    assert upload(user, SENSE, context="x" * 100_000).status_code == 413


@pytest.mark.parametrize("wait_s", ["-1", "301", "soon", "nan"])
def test_wait_s_out_of_range(user: httpx.Client, wait_s: str) -> None:
    files = {"file": SENSE.read_bytes()}
    assert user.post("/transcription/upload", params={"wait_s": wait_s}, files=files).status_code == 422


def multipart(*parts: tuple[str, bytes], end: bool = True) -> bytes:
    body = b"".join(
        b"--"
        + BOUNDARY.encode()
        + b"\r\nContent-Disposition: form-data; "
        + head.encode()
        + b"\r\n\r\n"
        + data
        + b"\r\n"
        for head, data in parts
    )
    return body + (b"--" + BOUNDARY.encode() + b"--\r\n" if end else b"")


def send(
    user: httpx.Client, body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}"
) -> httpx.Response:
    return user.post("/transcription/upload", content=body, headers={"Content-Type": content_type})


FILE = ('name="file"; filename="a.wav"', b"sound")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (SENSE.read_bytes(), "audio/wav", 415),
        (multipart(FILE), "multipart/form-data", 415),
        (multipart(FILE), "multipart/form-data; boundary=" + "b" * 2_000, 400),
        (b"", None, 400),
        (b"no multipart at all", None, 400),
        (multipart(FILE, end=False), None, 400),
        (multipart(FILE)[:-40], None, 400),
        (multipart(('name="title"', b"x")), None, 422),
        (multipart(('name="sound"; filename="a.wav"', b"x")), None, 422),
        (multipart(FILE, FILE), None, 422),
        (multipart(*((f'name="f{n}"', b"") for n in range(60)), FILE), None, 422),
        (multipart((f'name="{"n" * 20_000}"', b""), FILE), None, 400),
    ],
)
def test_malformed_bodies(user: httpx.Client, body: bytes, content_type: str | None, status: int) -> None:
    answer = send(user, body, content_type) if content_type else send(user, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_file_names_never_reach_the_disk(user: httpx.Client, house: House) -> None:
    for name in (
        "../../../../tmp/evil.wav",
        "..\\..\\evil.wav",
        "/etc/passwd",
        "a\x00b.wav",
        "x" * 5_000,
        "\u202egpj.wav",
    ):
        head = f'name="file"; filename="{name[:3_000]}"'
        answer = send(user, multipart((head, SENSE.read_bytes())))
        assert answer.status_code == 201, answer.text
        title = answer.json()["title"]
        assert title.isprintable() and "/" not in title and len(title) <= 200
    assert not list(house.folder.rglob("*evil*"))


def test_a_broken_off_upload_leaves_nothing(house: House) -> None:
    with house.client() as user:
        request = user.build_request("POST", "/transcription/upload", content=b"")
        token = next(user.auth.auth_flow(request)).headers["authorization"]  # type: ignore[union-attr]
        owner = user.auth._user.user_id  # type: ignore[union-attr]
    head = (
        f"POST /transcription/upload HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 900000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", house.ports["transcription"])) as line:
        line.sendall(head.encode() + multipart(FILE, end=False)[:-2] + bytes(200_000))
        time.sleep(0.3)
    folder = house.folder / "blobs" / owner
    deadline = time.monotonic() + 60
    while folder.exists() and list(folder.iterdir()):
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.1)
    assert not house.sql("SELECT 1 FROM recording WHERE owner = $1", owner)


def test_odd_but_good_recordings(user: httpx.Client) -> None:
    voice = spoken()
    eight = np.repeat(voice[:, None], 8, axis=1)
    slow = voice[::2]
    for name, data in {"8 kHz": wav(slow, 8_000), "8 channels": wav(eight), "mislabelled": wav(voice)}.items():
        answer = upload(user, data, name="song.mp3")
        assert answer.status_code == 201 and len(answer.json()["text"]) > 40, name


def test_nothing_was_said_of_anybody_in_the_logs(house: House) -> None:
    log = house.log("transcription")
    assert "evil" not in log and "I am not a recording" not in log
    assert log.count("an unforeseen error") == 0


def test_labels_that_do_not_fit_are_no_reason_to_lose_the_transcript(user: httpx.Client) -> None:
    voice = spoken()[:32_000]
    stereo = np.stack([voice, np.roll(voice, 9_000)], axis=1)
    transcript = upload(user, wav(stereo), channels="separate", channel_labels="one,two,three").json()
    assert transcript["status"] == "completed"
    assert "channel_labels_ignored" in [each["code"] for each in transcript["warnings"]]
