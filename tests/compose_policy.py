"""What every container has to be (SECURITY.md, check 30), read from the compose files as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DOCKER = Path(__file__).resolve().parents[1] / "docker"
OVERLAYS = ("", "compose.gpu.yaml", "compose.dev.yaml", "compose.monitoring.yaml")
PUBLISHED = {"api-gateway": ("127.0.0.1", 8000), "grafana": ("127.0.0.1", 3000)}
WAY_OUT = {"edge": {"api-gateway", "grafana"}, "downloads": {"models"}}
"""Networks that are not internal, and who may be on them."""
ONE_SHOT = {"models"}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|(^|_)KEY(_|$)|PASSPHRASE|_URL$")
NO_SECRET = re.compile(r"_(FILE|PATH|TOKENS)$")
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
PIN = re.compile(r":v?\d+\.\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$")


@cache
def merged(overlay: str) -> dict[str, Any]:
    """`-f compose.yaml -f overlay`, with the defaults of all variables. Whoever changes it takes a copy."""
    base = _read("compose.yaml")
    return _merge(base, _read(overlay)) if overlay else base


def _read(name: str) -> dict[str, Any]:
    text = (DOCKER / name).read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda match: match.group(2) or "", text))
    return {key: value for key, value in found.items() if not key.startswith("x-")}


def _merge(below: Any, above: Any, name: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merge(below.get(key), value, key) for key, value in above.items()}
    if isinstance(below, list) and isinstance(above, list) and name not in ("command", "entrypoint"):
        return below + above
    return above


def violations(told: dict[str, Any]) -> list[str]:
    """One sentence for each thing that is not as it must be; none where all is well."""
    found = [f"{name}: {text}" for name, service in told["services"].items() for text in _of_service(name, service)]
    found += [f"network {name} lets {text}" for name, text in _of_networks(told)]
    return found + [
        f"secret {name} is no file of the secrets' folder"
        for name, place in told["secrets"].items()
        if set(place) != {"file"} or not str(place["file"]).startswith("./secrets/")
    ]


def _of_service(name: str, service: dict[str, Any]) -> Iterator[str]:
    yield from _rights(service)
    yield from _limits(name, service)
    yield from _places(name, service)
    yield from _variables(service)
    if not PIN.search(str(service.get("image", ""))):
        yield f"image {service.get('image')!r} is not pinned"


def _rights(service: dict[str, Any]) -> Iterator[str]:
    if service.get("read_only") is not True:
        yield "its root can be written"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "it keeps capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"]:
        yield "it may gain privileges"
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(service.get("user", ""))):
        yield f"it runs as {service.get('user')!r}"
    if forbidden := {"privileged", "network_mode", "pid", "ipc", "userns_mode", "devices", "extra_hosts"} & set(
        service
    ):
        yield f"it has {sorted(forbidden)}"


def _limits(name: str, service: dict[str, Any]) -> Iterator[str]:
    for limit in ("mem_limit", "pids_limit", "cpus", "restart", "stop_grace_period"):
        if not service.get(limit):
            yield f"it has no {limit}"
    if not {"max-size", "max-file"} <= set(service.get("logging", {}).get("options", {})):
        yield "its log has no bound"
    if not any(str(each).startswith("/tmp:") and "size=" in each for each in service.get("tmpfs", [])):
        yield "it has no bounded /tmp in memory"
    health = service.get("healthcheck", {})
    if name not in ONE_SHOT and not ({"test", "interval", "timeout", "retries"} <= set(health)):
        yield "it has no healthcheck"
    for other, how in dict(service.get("depends_on", {})).items():
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        if how != {"condition": wanted}:
            yield f"it does not wait for {other}"


def _places(name: str, service: dict[str, Any]) -> Iterator[str]:
    for port in service.get("ports", []):
        host, published, inner = str(port).split(":")
        if PUBLISHED.get(name) != (host, int(inner)) or not published:
            yield f"it publishes {port}"
    for volume in service.get("volumes", []):
        source, _target, *mode = str(volume).split(":")
        if "docker.sock" in source or (source.startswith((".", "/", "~")) and mode != ["ro"]):
            yield f"it can write to {source}"
    if not service.get("networks"):
        yield "it is on the default network"
    if service.get("dns") != ["127.0.0.1"] and name not in WAY_OUT["downloads"]:
        yield "it can ask a name server outside"


def _variables(service: dict[str, Any]) -> Iterator[str]:
    variables = service.get("environment", {})
    if service.get("env_file") or not isinstance(variables, dict):
        yield "its variables cannot be looked at"
        return
    for name, value in variables.items():
        of_ours = name.endswith("_URL") and re.fullmatch(r"http://[a-z-]+:\d+", str(value))
        if SECRET_NAME.search(name) and not NO_SECRET.search(name) and not of_ours:
            yield f"it is told {name} as a variable"


def _of_networks(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, network in told["networks"].items():
        members = {each for each, service in told["services"].items() if name in service.get("networks", [])}
        internal = (network or {}).get("internal") is True
        if not internal and members - WAY_OUT.get(name, set()):
            yield name, f"{sorted(members - WAY_OUT.get(name, set()))} out"
        options = (network or {}).get("driver_opts", {})
        if name == "edge" and options.get("com.docker.network.bridge.enable_ip_masquerade") != "false":
            yield name, "its members out"
