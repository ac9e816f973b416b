"""A Docker Engine of our own where none runs, and the images, built without a registry."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("docker.io", "docker-compose", "iptables", "mmdebstrap", "openssl")
PROGRAMS = ("dockerd", "docker-compose", "iptables", "mmdebstrap", "openssl")
IN_BASE = "python3,python3-venv,ca-certificates"
BASE = "nemo-base:bookworm"
TARGETS = ("web", "speech", "llm", "postgres", "redis")
CA = Path("/etc/ssl/certs/ca-certificates.crt")
LEAST_DISK_BYTES = 12 * 1024**3
ENGINE_S = 60.0


class Skipped(Exception):
    """This machine cannot run containers; the message says why."""


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(*command: str, environment: Mapping[str, str] | None = None, check: bool = True, limit_s: float = 600) -> str:
    """Standard output of a command. Raises RuntimeError with its last words."""
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", check=False, timeout=limit_s
    )
    if check and done.returncode != 0:
        words = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{words}")
    return done.stdout


class Engine:
    """The engine as its clients see it."""

    def __init__(self, address: str | None) -> None:
        self.environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "DOCKER_BUILDKIT": "1"}
        if address:
            self.environment["DOCKER_HOST"] = address

    def docker(self, *arguments: str, check: bool = True, limit_s: float = 600) -> str:
        return run(client(), *arguments, environment=self.environment, check=check, limit_s=limit_s)

    def answers(self) -> bool:
        try:
            return bool(self.docker("version", "--format", "{{.Server.Version}}", check=False, limit_s=10).strip())
        except (OSError, subprocess.TimeoutExpired):
            return False


def client() -> str:
    """Debian's client, which is of the engine's age, where it is there."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def require_possible() -> None:
    """Raises Skipped."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise Skipped("the test of the containers needs Linux on x86-64")
    if os.geteuid() != 0:
        raise Skipped("starting a Docker Engine and killing what runs in it needs root")
    if shutil.which("apt-get") is None and _missing():
        raise Skipped(f"{', '.join(_missing())} is not here, and without apt-get it cannot be installed")


def _missing() -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def install() -> None:
    """Debian's packages. Raises Skipped where they cannot be had."""
    if not _missing():
        return
    say(f"installing {', '.join(PACKAGES)}")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run("apt-get", "update", "-qq", environment=quiet)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES, environment=quiet)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise Skipped(f"the engine cannot be installed here: {str(error).strip()[-400:]}") from error


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """The one that runs, else one of our own with its data below `folder`, stopped at the end. Raises Skipped."""
    theirs = Engine(None)
    if theirs.answers():
        say("using the Docker Engine that runs here")
        yield theirs
        return
    if shutil.disk_usage(folder).free < LEAST_DISK_BYTES:
        raise Skipped(f"less than {LEAST_DISK_BYTES // 1024**3} GiB is free below {folder}")
    bridge_was_here = Path("/sys/class/net/docker0").exists()
    with tempfile.TemporaryDirectory(prefix="nemo-docker-") as short:  # a socket's path has 108 bytes at most
        address = f"unix://{short}/docker.sock"
        ours, process = Engine(address), _start(folder, Path(short))
        try:
            _until_up(ours, process, folder / "dockerd.log")
            yield ours
        finally:
            process.terminate()
            process.wait(60)
            if not bridge_was_here:
                run("ip", "link", "delete", "docker0", check=False)
            say("the engine is stopped")


def _start(folder: Path, short: Path) -> subprocess.Popen[bytes]:
    command = [
        "dockerd", "--data-root", str(folder / "engine"), "--exec-root", f"{short}/exec",
        "--pidfile", f"{short}/docker.pid", "--host", f"unix://{short}/docker.sock",
    ]  # fmt: skip
    with (folder / "dockerd.log").open("wb") as log:
        return subprocess.Popen(command, env=Engine(None).environment, stdout=log, stderr=log, start_new_session=True)


def _until_up(ours: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + ENGINE_S
    while not ours.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            words = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise Skipped(f"a Docker Engine does not start on this machine:\n{words}")
        time.sleep(0.5)
    say("a Docker Engine of our own runs")


def make_base(ours: Engine, folder: Path) -> float:
    """A Debian with Python, made of packages and imported; answers its seconds, 0 where it was there."""
    if ours.docker("images", "--quiet", BASE).strip():
        return 0.0
    say(f"bootstrapping the base image ({IN_BASE})")
    began, archive = time.monotonic(), folder / "base.tar"
    run(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={IN_BASE}",
        "bookworm",
        str(archive),
        environment=ours.environment,
    )
    ours.docker("import", str(archive), BASE)
    archive.unlink()
    return time.monotonic() - began


def build(ours: Engine, folder: Path, owner: int) -> tuple[dict[str, float], str]:
    """Every image; seconds of each, and a word that was in the secrets of the build."""
    cached = Path.home() / ".cache/nemo-server/wheels"
    for wheel in cached.glob("llama_cpp_python-*.whl"):  # else it is compiled, in some ten minutes
        shutil.copy(wheel, ROOT / "docker" / "wheels")
    canary, took = _canary(folder), {}
    with tempfile.TemporaryDirectory(prefix="nemo-build-") as private:
        arguments = _secrets(Path(private), canary)
        for target in TARGETS:
            began = time.monotonic()
            ours.docker(
                "build", "--quiet", "--network", "host", *arguments, "--build-arg", f"BASE={BASE}",
                "--build-arg", f"UID={owner}", "--build-arg", f"GID={owner}", "--file", str(ROOT / "docker/Dockerfile"),
                "--target", target, "--tag", f"nemo-server/{target}:0.1.0", str(ROOT), limit_s=1800,
            )  # fmt: skip
            took[target] = time.monotonic() - began
            say(f"image {target}: {took[target]:.0f} s, {size_bytes(ours, target) / 1e6:.0f} MB")
    return took, canary


def _canary(folder: Path) -> str:
    """The same for every build: a layer of an earlier one, which the cache gives back, must not hold it either."""
    path = folder / "canary"
    if not path.is_file():
        path.write_text(f"canary-{secrets.token_hex(12)}", encoding="ascii")
    return path.read_text(encoding="ascii")


def size_bytes(ours: Engine, target: str) -> int:
    return int(ours.docker("image", "inspect", "--format", "{{.Size}}", f"nemo-server/{target}:0.1.0"))


def _secrets(folder: Path, canary: str) -> list[str]:
    """This machine's settings of pip and npm, and whom it trusts; needed behind a mirror or a proxy only."""
    told = run("python3", "-m", "pip", "config", "list", check=False)
    lines = {}
    for line in told.splitlines():
        name, _, value = line.partition("=")
        places = [each for each in value.strip("'").split() if each.startswith(("http:", "https:"))]
        if name.rpartition(".")[2] in ("index-url", "extra-index-url") and places:
            lines[name.rpartition(".")[2]] = " ".join(places)
    pip = folder / "pip.conf"
    pip.write_text(f"[global]\n# {canary}\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    npm, theirs = folder / "npmrc", Path.home() / ".npmrc"
    npm.write_text(f"; {canary}\n" + (theirs.read_text() if theirs.is_file() else ""))
    found = ["--secret", f"id=pip_conf,src={pip}", "--secret", f"id=npmrc,src={npm}"]
    return [*found, "--secret", f"id=ca,src={CA}"] if CA.is_file() else found


def require_clean(ours: Engine, words: Sequence[str]) -> None:
    """No layer, and no line of its history, holds any of these. Raises RuntimeError."""
    wanted = [word.encode() for word in words]
    for target in TARGETS:
        image = f"nemo-server/{target}:0.1.0"
        history = ours.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).encode()
        if any(word in history for word in wanted) or _holds(ours, image, wanted):
            raise RuntimeError(f"{image} holds something of the secrets that it was built with")


def _holds(ours: Engine, image: str, words: Sequence[bytes]) -> bool:
    """`docker save` writes layers uncompressed, so a file's words can be seen in the stream."""
    longest, tail = max(map(len, words)), b""
    with subprocess.Popen([client(), "save", image], env=ours.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = 0
        while chunk := process.stdout.read(1 << 22):
            seen += len(chunk)
            if any(word in tail + chunk for word in words):
                process.kill()
                return True
            tail = chunk[-longest:]
    if process.returncode != 0 or seen < size_bytes_least:
        raise RuntimeError(f"{image} could not be read")
    return False


size_bytes_least = 100_000_000
"""An image that is smaller was not looked through."""
