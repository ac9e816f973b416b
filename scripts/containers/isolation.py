"""What a container cannot do, tried from inside it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from containers.engine import say
from containers.stack import OWNER, SERVICES, Stack

PORTS = {
    "api-gateway": 8000, "gemma": 8001, "gpu-coordinator": 8002, "transcription": 8003, "rag": 8004, "emotion": 8005,
    "tts": 8007, "postgres": 5432, "redis": 6379,
}  # fmt: skip
WRITABLE = {
    "api-gateway": {"/data"},
    "gemma": {"/data"},
    "gpu-coordinator": set(),
    "transcription": {"/data/blobs", "/data/spool", "/data/deletions"},
    "rag": {"/data/vaults", "/data/documents", "/data/imports", "/data/deletions"},
    "emotion": set(),
    "tts": set(),
    "postgres": {"/var/lib/postgresql"},
    "redis": {"/var/lib/redis"},
    "backup": {"/data", "/data/vaults", "/data/documents", "/data/blobs", "/data/deletions", "/backups"},
}
IN_MEMORY = {"/tmp", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console"}
ENGINES_OWN = {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}
"""Bound in by the engine; owned by root, so that our user cannot write them."""
TRIED = ("/", "/app", "/etc", "/etc/hosts", "/usr/bin", "/opt", "/run/secrets", "/models", "/var")
CONNECT = """
import concurrent.futures, json, socket, sys
def word(place):
    try:
        socket.create_connection(tuple(place), 4).close()
        return "open"
    except OSError as error:
        return type(error).__name__
places = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps({f"{host}:{port}": found for (host, port), found in zip(places, pool.map(word, places))}))
"""
STATE = """
import json, os, pathlib
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines())
tried = %r
def can_write(path):
    try:
        if os.path.isdir(path):
            probe = os.path.join(path, ".probe"); open(probe, "w").close(); os.unlink(probe)
        else:
            open(path, "a").close()
        return True
    except OSError:
        return False
print(json.dumps({
    "status": {name: status[name].strip() for name in status},
    "environment": pathlib.Path("/proc/1/environ").read_bytes().decode(errors="replace"),
    "mounts": [line.split()[1:4] for line in pathlib.Path("/proc/1/mounts").read_text().splitlines()],
    "written": [path for path in tried if can_write(path)],
    "secrets": [str(each)[len("/run/secrets/"):] for each in pathlib.Path("/run/secrets").rglob("*") if each.is_file()],
}))
""" % (TRIED,)  # noqa: UP031
IMPERSONATE = """
import http.client, pathlib
from shared.auth.service_tokens import ServiceIdentity
from shared.settings import ServiceSettings
own = ServiceIdentity.from_settings("emotion", ServiceSettings())
def status(identity):
    connection = http.client.HTTPConnection("rag", 8004, timeout=5)
    connection.request("GET", "/metrics", headers={"Authorization": "Bearer " + identity.token_for("rag")})
    return connection.getresponse().status
false = ServiceIdentity("api-gateway", own._private, own._known)
print(status(own), status(false))
"""


def prove(stack: Stack) -> None:
    """Raises AssertionError naming the container and what it could do."""
    for service in SERVICES:
        _bounded(stack, service)
    say("  ok  no capability, no root, nothing written outside the volumes, no secret in an environment, limits set")
    _published(stack)
    say("  ok  only the gateway is published, on loopback")
    _outside_in(stack)
    say("  ok  from another network nothing can be reached")
    _inside_out(stack)
    told = stack.python("emotion", IMPERSONATE).split()
    assert told == ["200", "401"], f"emotion as itself and as the gateway: {told}"
    say("  ok  one service cannot sign as another")


def _bounded(stack: Stack, service: str) -> None:
    told = json.loads(stack.python(service, STATE))
    status = told["status"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, f"{service} has capabilities: {name} {status[name]}"
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", f"{service}: {status}"
    assert set(status["Uid"].split()) == {str(OWNER)}, f"{service} runs as {status['Uid']}"
    assert not told["written"], f"{service} wrote to {told['written']}"
    _mounts(service, told["mounts"])
    _secrets(stack, service, told["environment"], told["secrets"])
    limits = stack.look(service)["HostConfig"]
    assert limits["Memory"] and limits["PidsLimit"] and limits["NanoCpus"], f"{service} has no limits"
    assert limits["ReadonlyRootfs"] and not limits["Privileged"], service


def _mounts(service: str, mounts: list[list[str]]) -> None:
    virtual = {"proc", "sysfs", "cgroup", "cgroup2", "tmpfs", "devpts", "mqueue"}
    writable = {place for place, kind, flags in mounts if kind not in virtual and "rw" in flags.split(",")}
    assert writable - ENGINES_OWN == WRITABLE[service], f"{service} can write to {sorted(writable)}"
    in_memory = {place for place, kind, flags in mounts if kind == "tmpfs" and "rw" in flags.split(",")}
    allowed = {place for place in in_memory if place in IN_MEMORY or place.startswith(("/proc/", "/sys/"))}
    assert in_memory == allowed, f"{service} has memory file systems at {in_memory - allowed}"


def _secrets(stack: Stack, service: str, environment: str, seen: list[str]) -> None:
    look = json.dumps(stack.look(service)["Config"])
    for path in stack.secrets.iterdir():
        value = path.read_text().strip() if path.is_file() and path.name != "postgres_user" else ""
        assert not value or (value not in environment and value not in look), f"{service} shows {path.name}"
    private = [each for each in seen if each.endswith(".key") or each.startswith("service_key_")]
    assert not private, f"{service} sees keys of others: {private}"
    plain_service = {"redis_password", "scrape_token", "service_key"}
    wanted = {
        **dict.fromkeys(("emotion", "tts", "gemma"), plain_service),
        "redis": {"redis_password"},
        "postgres": {"postgres_user", "postgres_password"},
    }
    plain = {each for each in seen if not each.startswith("service_keys/")}
    assert service not in wanted or plain == wanted[service], f"{service} has {sorted(plain)}"


def _published(stack: Stack) -> None:
    found = {
        (service, port, each["HostIp"])
        for service in SERVICES
        for port, binds in stack.look(service)["NetworkSettings"]["Ports"].items()
        for each in binds or ()
    }
    assert found == {("api-gateway", "8000/tcp", "127.0.0.1")}, found


def _outside_in(stack: Stack) -> None:
    places = [(address, port) for service, port in PORTS.items() for address in _addresses(stack, service)]
    assert len(places) > len(PORTS)
    with_us = _from_elsewhere(stack, [*places, *((host, stack.port) for host in _host_addresses())])
    opened = [place for place, word in with_us.items() if word == "open"]
    assert not opened, f"from another network one reaches {opened}"
    assert "open" in _ask(stack, "api-gateway", [("rag", PORTS["rag"])]).values(), "and the gateway does not reach rag"


def _addresses(stack: Stack, service: str) -> list[str]:
    return [each["IPAddress"] for each in stack.look(service)["NetworkSettings"]["Networks"].values()]


def _host_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ["172.17.0.1"]
        return ["172.17.0.1", str(probe.getsockname()[0])]


def _from_elsewhere(stack: Stack, places: list[tuple[str, int]]) -> dict[str, str]:
    """As a stranger's container on the same machine sees it."""
    found: dict[str, str] = json.loads(
        stack.engine.docker(
            "run", "--rm", "nemo-server/web:0.1.0", "python3", "-c", CONNECT, json.dumps(places), limit_s=300
        )
    )
    return found


def _ask(stack: Stack, service: str, places: list[tuple[str, int]]) -> dict[str, str]:
    found: dict[str, str] = json.loads(stack.inside(service, "python3", "-c", CONNECT, json.dumps(places)))
    return found


def _inside_out(stack: Stack) -> None:
    """Nobody reaches what a plain container does; without such a place here it is said, and names are tried alone."""
    outside = [(server, 53) for server in _name_servers()] + [("deb.debian.org", 80)]
    reached = [place.rpartition(":") for place, word in _from_elsewhere(stack, outside).items() if word == "open"]
    places = [(host, int(port)) for host, _, port in reached] or outside
    for service in SERVICES:
        opened = [place for place, word in _ask(stack, service, places).items() if word == "open"]
        assert not opened, f"{service} reaches {opened}"
    say(f"  ok  no way out, to {len(reached)} places that a plain container reaches")
    assert reached, "a plain container reaches nothing from this machine, so this proves little"


def _name_servers() -> list[str]:
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    return [
        line.split()[1] for line in lines if line.startswith("nameserver") and not line.split()[1].startswith("127.")
    ]
