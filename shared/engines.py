"""Find an engine by name without importing any other.

Built-ins are `"module:Class"` strings; third parties offer theirs as entry points in the group `nemo_server.<role>`.
Both come in by the same door.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from shared.errors import Invalid


def known(role: str, builtin: Mapping[str, str]) -> dict[str, str]:
    """Name to `"module:Class"` of every engine that is installed for a role."""
    theirs = {each.name: each.value for each in entry_points(group=f"nemo_server.{role}")}
    return theirs | dict(builtin)


def load(role: str, builtin: Mapping[str, str], name: str) -> type[Any]:
    """The class of one engine. Raises Invalid with the known names where there is none of that name."""
    engines = known(role, builtin)
    if name not in engines:
        raise Invalid(f"There is no {role} engine {name!r}; choose one of {', '.join(sorted(engines))}.")
    module, _, attribute = engines[name].partition(":")
    found: type[Any] = getattr(import_module(module), attribute)
    return found
