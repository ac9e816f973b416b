"""One version everywhere, notes from the changelog, and a workflow that does what the repository does."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import yaml

from shared.service import platform_version
from tests.conftest import ROOT
from tests.gateway_house import gateway, settings_for, started


def script(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "scripts" / name))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))  # type: ignore[arg-type]
    loader.exec_module(made)
    return made


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that name the version, apart from the repository."""
    for path in {path for path, _ in script("version").found(ROOT)}:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


async def test_package_api_page_and_images_agree(tmp_path: Path) -> None:
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert script("version").version(ROOT) == expected == platform_version()
    assert script("version").others(ROOT) == []
    async with started(gateway(settings_for(tmp_path))) as http:
        assert (await http.get("/version")).json() == {"version": expected}
        assert (await http.get("/openapi.json")).json()["info"]["version"] == expected
        figures = await metrics(http)
    assert f'nemo_build_info{{version="{expected}"}} 1.0' in figures


async def metrics(http: httpx.AsyncClient) -> str:
    return (await http.get("/metrics")).text


def test_a_version_that_is_set_is_set_everywhere(copy: Path) -> None:
    version = script("version")
    before = len(list(version.found(copy)))
    version.write(copy, "12.34.56")
    assert version.version(copy) == "12.34.56" and version.others(copy) == []
    assert len(list(version.found(copy))) == before > 10
    with pytest.raises(ValueError, match="no version"):
        version.write(copy, "next")


def test_a_file_that_lags_behind_is_named(copy: Path) -> None:
    version = script("version")
    path = copy / "frontend" / "package.json"
    path.write_text(path.read_text().replace(f'"version": "{version.version(copy)}"', '"version": "0.0.1"'))
    assert version.others(copy) == ["frontend/package.json: 0.0.1"]
    path.write_text("{}")
    with pytest.raises(LookupError, match=r"package\.json"):
        version.others(copy)


CHANGELOG = "# Changelog\n\n## 0.3.0 (unreleased)\n\n- new\n\n## 0.2.0 (2026-05-01)\n\n- one\n- two\n\n## 0.1.0\n\n"


def test_notes_are_the_section_of_the_version() -> None:
    notes = script("release_notes").notes
    assert notes(CHANGELOG, "0.2.0") == "- one\n- two\n"
    assert notes(CHANGELOG, "0.3.0", draft=True) == "- new\n"
    for version, why in (("0.3.0", "unreleased"), ("0.1.0", "nothing"), ("0.9.0", "no heading")):
        with pytest.raises(LookupError, match=why):
            notes(CHANGELOG, version)


def test_the_changelog_has_notes_for_the_version_in_the_making() -> None:
    release_notes, version = script("release_notes"), script("version").version(ROOT)
    assert len(release_notes.notes((ROOT / "CHANGELOG.md").read_text(), version, draft=True)) > 100


def test_the_workflow_runs_what_is_run_here_and_builds_targets_that_there_are() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert any(step.get("run") == ".ci/run" for step in jobs["check"]["steps"])
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    for target in jobs["images"]["strategy"]["matrix"]["target"]:
        assert f" AS {target}\n" in dockerfile, target
