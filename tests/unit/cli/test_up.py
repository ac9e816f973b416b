"""What `nemo up` checks before it starts, what it tells each service, and how it writes its logs."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from services.cli import keys, language_runtime, look, up
from services.cli.up import CannotStart, Console, Platform, held, require_space, running_pid
from shared.settings import SERVICE_PORTS, ServiceSettings

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    keys.ensure(tmp_path / "secrets", tmp_path)
    return Platform(ServiceSettings(data_dir=tmp_path), port=9100, host="127.0.0.1", verbose=False)


def test_a_full_disk_is_told_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**6))
    with pytest.raises(CannotStart, match=f"Less than 1 GiB is free below {tmp_path}"):
        require_space(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"cannot be written .*DATA_DIR"):
        require_space(tmp_path / "file" / "data")


def test_one_platform_a_data_folder(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    with held(tmp_path, "127.0.0.1", 9100):
        assert running_pid(tmp_path) == os.getpid()
        assert look.gateway_url(tmp_path) == "http://127.0.0.1:9100"
        with pytest.raises(CannotStart, match=f"already running .*{os.getpid()}"), held(tmp_path, "127.0.0.1", 9200):
            pass
    assert running_pid(tmp_path) is None


def test_a_pid_file_that_was_left_behind_fools_nobody(tmp_path: Path) -> None:
    """In a container the next start often has the very same process id."""
    (tmp_path / up.PID_FILE).write_text(f"{os.getpid()}\n8000\n127.0.0.1\n")
    assert running_pid(tmp_path) is None
    with held(tmp_path, "127.0.0.1", 9100):
        assert running_pid(tmp_path) == os.getpid()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:9100"),
        ("::", "http://127.0.0.1:9100"),
        ("192.0.2.7", "http://192.0.2.7:9100"),
        ("::1", "http://[::1]:9100"),
    ],
)
def test_the_other_commands_find_the_gateway_where_it_listens(tmp_path: Path, host: str, url: str) -> None:
    with held(tmp_path, host, 9100):
        assert look.gateway_url(tmp_path) == url


def test_all_ports_are_shifted_together(platform: Platform) -> None:
    assert platform.ports() == {name: port + 1100 for name, port in SERVICE_PORTS.items()}
    told = platform._environment("rag", {})
    assert told["RAG_PORT"] == "9104" and told["EMOTION_URL"] == "http://127.0.0.1:9105"


@pytest.mark.parametrize("port", [0, -5, 65_535, 80_000])
def test_a_port_out_of_range_is_told(tmp_path: Path, port: int) -> None:
    platform = Platform(ServiceSettings(data_dir=tmp_path), port=port, host="127.0.0.1", verbose=False)
    with pytest.raises(CannotStart, match="--port"):
        platform.check()


def test_only_the_gateway_listens_where_it_is_told(tmp_path: Path) -> None:
    keys.ensure(tmp_path / "secrets", tmp_path)
    platform = Platform(ServiceSettings(data_dir=tmp_path), port=8000, host="0.0.0.0", verbose=False)
    hosts = {name: platform._environment(name, {})[f"{name.upper().replace('-', '_')}_HOST"] for name in SERVICE_PORTS}
    assert hosts.pop("api-gateway") == "0.0.0.0"
    assert set(hosts.values()) == {"127.0.0.1"}


def test_a_service_is_told_no_secret_and_no_database_that_it_does_not_need(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_SECRET", "k3J9-xQ7v_R2mZ8wLp5tYb1nHc6dFg4s0AeU")
    monkeypatch.setenv("EMOTION_THREADS", "2")
    urls = {"DATABASE_URL": "postgresql://secret", "REDIS_URL": "redis://secret"}
    told = platform._environment("emotion", urls)
    assert told["EMOTION_THREADS"] == "2" and told["REDIS_URL"] == "redis://secret"
    assert not {"DATABASE_URL", "SESSION_SECRET", "RAG_DB_KEY", "USERS_DB_KEY", "JWT_SECRET_PRIMARY"} & set(told)
    assert platform._environment("api-gateway", urls)["SESSION_SECRET"].startswith("k3J9")
    assert platform._environment("gpu-coordinator", urls)["DATABASE_URL"] == "postgresql://secret"


def test_each_writes_its_own_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(tmp_path / "logs", verbose=False)
    console.line("postgres", "ready")
    console.say("hello")
    assert (tmp_path / "logs" / "postgres.log").read_text() == "ready\n"
    assert console.last_words("postgres") == "ready" and console.last_words("rag") == ""
    assert "hello" in capsys.readouterr().out and not (tmp_path / "logs" / "rag.log").exists()


def test_the_terminal_shows_what_a_person_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"level": "INFO", "message": "request"}', '{"level": "WARNING", "message": "disk"}', "{not json", "[1]"]
    for line in lines:
        Console(tmp_path, verbose=False).line("rag", line)
    assert capsys.readouterr().out == "             rag | WARNING disk\n"
    for line in lines:
        Console(tmp_path, verbose=True).line("rag", line)
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert len((tmp_path / "rag.log").read_text().splitlines()) == 8


def test_json_is_for_files_and_words_are_for_eyes() -> None:
    line = '{"time": "x", "level": "INFO", "service": "rag", "logger": "l", "request_id": "-", "message": "request", "status": 200}'
    assert up.readable(line) == "request status=200"
    assert up.readable('{"level": "ERROR", "message": "bad"}') == "ERROR bad"
    for other in ("LOG:  database system is ready", "{not json", '{"a": 1}', "[1]", ""):
        assert up.readable(other) == other


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "LOG_BYTES", 100)
    console = Console(tmp_path, verbose=False)
    for number in range(60):
        console.line("rag", f"line {number}")
    assert (tmp_path / "rag.log").stat().st_size < 200
    assert (tmp_path / "rag.log.1").is_file()
    assert look._follow(tmp_path / "rag.log", 10_000) == 0


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()  # where the folder should be
    Console(tmp_path / "logs", verbose=False).line("rag", "hello")


def test_the_language_model_is_told_in_words(tmp_path: Path) -> None:
    state = language_runtime.State(tmp_path / "llama-build.json")
    state.say("building", 41.7)
    assert look.language_state(tmp_path) == "building, 42 %"
    state.say("failed", detail=language_runtime.NO_COMPILER)
    assert "apt-get install g++" in look.language_state(tmp_path)


def test_a_wheel_that_was_cut_short_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_CACHE_DIR", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl").write_bytes(b"PK\x03\x04 half a wheel")
    assert language_runtime.cached_wheel() is None


def test_without_a_compiler_the_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler"):
        language_runtime.build(language_runtime.State(tmp_path / "llama-build.json"))
