"""What the dashboards and alert rules of docker/monitoring name, read with a small tokenizer of PromQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
MONITORING = ROOT / "docker" / "monitoring"
RULES = MONITORING / "prometheus" / "rules" / "nemo.yml"
PROMETHEUS_OWN = {"up", "scrape_duration_seconds"}
"""Prometheus makes these of each scrape itself."""
_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}
_TOKEN = re.compile(
    r"(?P<string>\"[^\"]*\"|'[^']*')|(?P<range>\[[^\]]*\])|(?P<labels>\{)|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"|(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<other>\S)"
)


def named(expression: str) -> Iterator[tuple[str, set[str]]]:
    """(metric, labels that it is selected or, right around it, grouped by) of a PromQL expression."""
    tokens = [(each.lastgroup or "", each.group()) for each in _TOKEN.finditer(expression)]
    at, groups = 0, set[str]()
    while at < len(tokens):
        kind, word = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind == "name" and word in _WORDS:
            if following == "(":  # a list of labels
                end = _closing(tokens, at + 1)
                groups = {text for what, text in tokens[at + 2 : end] if what == "name"} - {"le"}
                at = end
        elif kind == "name" and following not in ("(", "by", "without"):
            labels, at = _selected(tokens, at)
            yield word, labels | groups
            groups = set()
        at += 1


def _closing(tokens: list[tuple[str, str]], at: int) -> int:
    return next(i for i in range(at, len(tokens)) if tokens[i][1] == ")")


def _selected(tokens: list[tuple[str, str]], at: int) -> tuple[set[str], int]:
    if at + 1 >= len(tokens) or tokens[at + 1][1] != "{":
        return set(), at
    end = next(i for i in range(at, len(tokens)) if tokens[i][1] == "}")
    return {text for what, text in tokens[at + 2 : end] if what == "name"}, end


def dashboards() -> dict[str, dict[str, Any]]:
    return {
        each.stem: json.loads(each.read_text()) for each in sorted((MONITORING / "grafana/dashboards").glob("*.json"))
    }


def alerts() -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of everything that an operator is shown or told."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]
    for rule in alerts():
        yield rule["alert"], rule["expr"]
