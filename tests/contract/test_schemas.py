"""The gateway promises to clients what the services keep: the same bodies, answers and parameters."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from shared.settings import SERVICE_PORTS

_LISTENING = {f"/v1/audio/{name}": f"/listening/{name}" for name in ("transcriptions", "translations", "diarization")}
_SPEAKING = {f"/v1/audio/{name}": f"/speaking/{name}" for name in ("speech", "voices")}
_TEXT = {"/v1/chat/completions": "/completing/chat", "/v1/embeddings": "/embedding/texts"}
ALIASES = _LISTENING | _SPEAKING | _TEXT
"""Where the service has another path than the gateway: below `/v1` errors look different."""
METHODS = ("get", "post", "put", "patch", "delete")


def document(service: str) -> dict[str, Any]:
    found: dict[str, Any] = import_module(f"services.{service.replace('-', '_')}.app").create_app().openapi()
    return found


GATEWAY = document("api-gateway")
SERVICES = {name: document(name) for name in SERVICE_PORTS if name != "api-gateway"}


def expanded(schema: Any, top: dict[str, Any], above: tuple[str, ...] = ()) -> Any:
    """A schema with its references put in, without the words that are for readers."""
    if isinstance(schema, list):
        return [expanded(each, top, above) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name in above:
            return name
        return expanded(top["components"]["schemas"][name], top, (*above, name))
    return {key: expanded(value, top, above) for key, value in schema.items() if key not in ("title", "description")}


def shared_operations() -> list[tuple[str, str, str]]:
    return [
        (name, method, path)
        for path, operations in GATEWAY["paths"].items()
        for method in METHODS
        for name, told in SERVICES.items()
        if method in operations
        and method in told["paths"].get(ALIASES.get(path, path), {})
        and path not in ("/health", "/ready")
    ]


def answer(operation: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """By status; a stream has no schema, which FastAPI says in two ways."""
    return {
        status: expanded(told.get("content", {}).get("application/json", {}).get("schema"), top) or None
        for status, told in operation["responses"].items()
        if status.startswith("2")
    }


def parameters(operation: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    return {
        each["name"]: expanded(each["schema"], top)
        for each in operation.get("parameters", [])
        if each["in"] in ("query", "path")
    }


def test_there_is_something_to_compare() -> None:
    assert {name for name, _, _ in shared_operations()} == set(SERVICES)
    assert ALIASES.keys() <= {path for _, _, path in shared_operations()}


@pytest.mark.parametrize(("service", "method", "path"), shared_operations())
def test_the_gateway_and_the_service_agree(service: str, method: str, path: str) -> None:
    ours, top = GATEWAY["paths"][path][method], SERVICES[service]
    theirs = top["paths"][ALIASES.get(path, path)][method]
    assert answer(ours, GATEWAY) == answer(theirs, top)
    body = expanded(ours.get("requestBody", {}), GATEWAY).get("content", {}).get("application/json")
    if "application/json" in theirs.get("requestBody", {}).get("content", {}):
        assert body == expanded(theirs["requestBody"], top)["content"]["application/json"]
    mine, known = parameters(ours, GATEWAY), parameters(theirs, top)
    assert mine.keys() <= known.keys(), "a parameter that nobody would read"
