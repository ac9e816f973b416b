"""Dashboards and alerts name figures that there are, with the labels that they have, and runbooks that are written."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re

import pytest

from shared.figures import CATALOGUE
from tests.monitoring import PROMETHEUS_OWN, ROOT, alerts, dashboards, expressions, named

OF_EVERY_SCRAPE = {"job", "instance"}


def labels_of(metric: str) -> set[str] | None:
    """None where nobody makes such a metric."""
    if metric in PROMETHEUS_OWN or metric.startswith("process_"):
        return set()
    for name, figure in CATALOGUE.items():
        more = {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if figure.kind == "histogram" else {name}
        if metric in more:
            return set(figure.labels) | ({"le"} if metric.endswith("_bucket") else set())
    return None


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('sum by (le, mode) (rate(a_bucket{job="x"}[5m]))', [("a_bucket", {"mode", "job"})]),
        ("a > 4 * 3600 or b{c=~'d|e'} == 0", [("a", set()), ("b", {"c"})]),
        ('sum(rate(a{status=~"5.."}[10m])) / sum(rate(a[10m]))', [("a", {"status"}), ("a", set())]),
    ],
)
def test_the_tokenizer(expression: str, found: list[tuple[str, set[str]]]) -> None:
    assert list(named(expression)) == found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_figure_and_label_that_is_named_exists(where: str, expression: str) -> None:
    found = list(named(expression))
    assert found, where
    for metric, labels in found:
        known = labels_of(metric)
        assert known is not None, f"{where}: nobody makes {metric}"
        assert labels <= known | OF_EVERY_SCRAPE, f"{where}: {metric} has no {labels - known}"


def test_every_figure_of_ours_is_shown_to_somebody() -> None:
    shown = {metric for _, expression in expressions() for metric, _ in named(expression)}
    for name in CATALOGUE:
        assert any(each == name or each.rsplit("_", 1)[0] == name for each in shown), f"{name} is on no dashboard"


def test_the_dashboards_are_those_of_the_script() -> None:
    path = ROOT / "scripts" / "make_dashboards"
    loader = importlib.machinery.SourceFileLoader("make_dashboards", str(path))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_dashboards", loader))  # type: ignore[arg-type]
    loader.exec_module(made)
    folder = ROOT / "docker" / "monitoring" / "grafana" / "dashboards"
    assert {each.stem for each in folder.glob("*.json")} == set(made.DASHBOARDS)
    for name in made.DASHBOARDS:
        assert (folder / f"{name}.json").read_text() == made.dashboard(name), "run scripts/make_dashboards"
    ids = [each["uid"] for each in dashboards().values()]
    assert len(set(ids)) == len(ids)


def test_every_alert_has_a_runbook_a_severity_and_a_sentence() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    anchors = {re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
               for line in page.splitlines() if line.startswith("#")}  # fmt: skip
    seen = set()
    for rule in alerts():
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert path == "docs/operations.md" and anchor in anchors, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"]
        seen.add(rule["alert"])
    assert len(seen) == len(alerts())
