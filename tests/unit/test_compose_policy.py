"""The compose files and the Dockerfile are as SECURITY.md, check 30, wants them; and the check sees when they are not."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from services.cli import keys
from shared.settings import SERVICE_PORTS
from tests.compose_policy import DOCKER, ONE_SHOT, OVERLAYS, PIN, merged, violations

STORES = {"postgres", "redis"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_hardened(overlay: str) -> None:
    assert violations(merged(overlay)) == []


def test_no_compose_file_is_left_out() -> None:
    assert {each.name for each in DOCKER.glob("compose*.yaml")} == {"compose.yaml", *OVERLAYS} - {""}


def test_every_service_of_the_platform_has_its_container() -> None:
    assert set(merged("")["services"]) == set(SERVICE_PORTS) | STORES | ONE_SHOT | {"backup"}


def test_the_backup_sees_all_that_is_stored_and_has_no_way_out() -> None:
    """A volume that is added later is either in the archive or named here."""
    told = merged("")["services"]
    stored = {volume.split(":")[0] for name in SERVICE_PORTS for volume in told[name]["volumes"]}
    elsewhere = {volume for volume in stored if volume.startswith(".")} | {"models", "language", "imports", "spool"}
    seen = dict(reversed(volume.split(":")[:2]) for volume in told["backup"]["volumes"])
    assert set(seen.values()) == stored - elsewhere | {"backups"}
    for name in SERVICE_PORTS:
        for source, place, *_ in (volume.split(":") for volume in told[name]["volumes"]):
            assert source in elsewhere or seen[place] == source
    assert told["backup"]["networks"] == ["database"]
    assert secrets_of(told["backup"]) >= {*keys.NAMES, "backup_public_key"}
    assert not any("service_key" in each for each in secrets_of(told["backup"]))


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda told: told["services"]["rag"].pop(name)


def with_this(name: str, value: Any, service: str = "rag") -> Callable[[dict[str, Any]], object]:
    return lambda told: told["services"][service].update({name: value})


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    **{
        f"no {name}": without(name)
        for name in (
            "read_only", "cap_drop", "security_opt", "user", "tmpfs", "mem_limit", "pids_limit", "cpus", "restart",
            "stop_grace_period", "healthcheck", "logging", "networks", "dns", "image",
        )
    },
    "root": with_this("user", "0:0"),
    "privileged": with_this("privileged", True),
    "a capability": with_this("cap_add", ["NET_ADMIN"]),
    "no seccomp": with_this("security_opt", ["no-new-privileges:true", "seccomp:unconfined"]),
    "the host's network": with_this("network_mode", "host"),
    "a port": with_this("ports", ["127.0.0.1:8004:8004"]),
    "the gateway for all": with_this("ports", ["8000:8000:8000"], "api-gateway"),
    "the gateway beyond loopback": with_this("ports", ["0.0.0.0:8000:8000"], "api-gateway"),
    "the engine's socket": with_this("volumes", ["/var/run/docker.sock:/var/run/docker.sock:ro"]),
    "a folder of the host": with_this("volumes", ["../data:/data"]),
    "a secret variable": with_this("environment", {"RAG_DB_KEY": "x"}),
    "a URL with a password": with_this("environment", {"DATABASE_URL": "postgresql://nemo:x@postgres/nemo"}),
    "a file of variables": with_this("env_file", ["secrets.env"]),
    "latest": with_this("image", "nemo-server/speech:latest"),
    "no tag": with_this("image", "nemo-server/speech"),
    "a way out": with_this("networks", ["services", "downloads"]),
    "does not wait": with_this("depends_on", {"postgres": {"condition": "service_started"}}),
    "an open network": lambda told: told["networks"]["services"].update(internal=False),
    "masquerading": lambda told: told["networks"]["edge"].pop("driver_opts"),
    "a secret in the file": lambda told: told["secrets"].update(rag_db_key={"environment": "RAG_DB_KEY"}),
}  # fmt: skip


@pytest.mark.parametrize("what", BREAKS)
def test_the_check_sees_what_is_missing(what: str) -> None:
    told = copy.deepcopy(merged(""))
    BREAKS[what](told)
    assert violations(told)


def secrets_of(service: dict[str, Any]) -> set[str]:
    """By the names under which they appear in the container."""
    return {each if isinstance(each, str) else each["target"] for each in service.get("secrets", [])}


@pytest.mark.parametrize("service", SERVICE_PORTS)
def test_a_service_is_given_its_own_secrets_and_no_other(service: str) -> None:
    told = merged("")["services"][service]
    databases = {"postgres_user", "postgres_password"} if service in keys.USES_POSTGRES else set()
    wanted = {*keys.BELONGS.get(service, ()), "redis_password", "scrape_token", "service_key", *databases}
    assert secrets_of(told) == wanted
    own = [each["source"] for each in told["secrets"] if isinstance(each, dict) and each["target"] == "service_key"]
    assert own == [f"service_key_{service}"]
    assert ("database" in told["networks"]) == (service in keys.USES_POSTGRES)


@pytest.mark.parametrize("service", SERVICE_PORTS)
def test_ports_and_addresses_are_those_of_the_settings(service: str) -> None:
    told, port = merged("")["services"][service], SERVICE_PORTS[service]
    prefix = service.upper().replace("-", "_")
    assert told["environment"][f"{prefix}_URL"] == f"http://{service}:{port}"
    assert told["environment"][f"{prefix}_HOST"] == "0.0.0.0"
    assert told["healthcheck"]["test"][:3] == ["CMD", "nemo-health", str(port)]
    assert told["command"] == ["python", "-m", "services", "run", service]


FOLDER = re.compile(r'data_dir / "([a-z_]+)"')


@pytest.mark.parametrize("service", SERVICE_PORTS)
def test_what_a_service_stores_is_on_a_volume(service: str) -> None:
    """The root of its container cannot be written, and would be gone with it."""
    sources = (DOCKER.parent / "services" / service.replace("-", "_")).rglob("*.py")
    folders = {name for path in sources for name in FOLDER.findall(path.read_text(encoding="utf-8"))}
    volumes = merged("")["services"][service]["volumes"]
    mounted = {volume.split(":")[1] for volume in volumes if not volume.startswith(".")}
    assert "/data" in mounted or {f"/data/{name}" for name in folders} <= mounted
    assert folders or service not in ("rag", "transcription"), "the pattern finds nothing any more"


def test_prometheus_asks_every_service_with_the_token() -> None:
    told = yaml.safe_load((DOCKER / "monitoring/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    asked = {job["job_name"]: job for job in told["scrape_configs"]}
    assert set(asked) == set(SERVICE_PORTS)
    for name, job in asked.items():
        assert job["static_configs"] == [{"targets": [f"{name}:{SERVICE_PORTS[name]}"]}]
        assert job["authorization"] == {"credentials_file": "/run/secrets/scrape_token"}


DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
IMAGES = {each["build"]["target"] for name in OVERLAYS for each in merged(name)["services"].values() if "build" in each}


def test_every_image_is_a_target_and_ends_as_an_ordinary_user() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]
    named = {stage.split("\n", 1)[0].rpartition(" AS ")[2]: stage for stage in stages}
    assert set(named) >= IMAGES >= {"web", "speech", "llm", "postgres", "redis", "nemo", "llm-gpu"}
    for target in IMAGES:
        assert re.findall(r"^USER (\w+)", named[target], flags=re.M)[-1:] == ["nemo"], target


def test_what_an_image_is_made_of_is_pinned() -> None:
    bases = re.findall(r"^ARG \w+=(\S+:\S+)$", DOCKERFILE, flags=re.M)
    assert len(bases) == 2
    assert all(PIN.search(base) for base in bases)
    for line in re.findall(r"pip install ([^\n]+)", DOCKERFILE):
        assert "--require-hashes" in line or "==" in line or "-e ." in line or ".whl" in line or "nemo.in" in line, line
    assert not re.search(r"^ADD |^# *syntax=|curl |wget ", DOCKERFILE, flags=re.M)


def test_no_secret_of_a_build_becomes_an_argument_or_a_layer() -> None:
    assert not re.search(r"^(ARG|ENV) \w*(TOKEN|PASSWORD|SECRET|INDEX|PROXY|NPMRC)", DOCKERFILE, flags=re.M)
    assert not re.search(r"^COPY [^\n]*(pip\.conf|npmrc|secrets)", DOCKERFILE, flags=re.M)
    ignored = (DOCKER.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*", "everything is left out but what is named"
    assert not [line for line in ignored if line.startswith("!") and re.search(r"secrets|data|\.env", line)]
