"""docker/secrets/generate_secrets.sh: makes each secret once, keeps it private, rotates without loss."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from services.api_gateway.settings import Settings
from shared.auth.service_tokens import ServiceIdentity
from shared.errors import Unauthenticated
from shared.settings import SERVICE_PORTS
from tests.compose_policy import DOCKER, OVERLAYS, merged

SCRIPT = DOCKER / "secrets/generate_secrets.sh"


def script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "NEMO_SECRETS": str(folder), "NEMO_ENV_FILE": str(folder.parent / "env")}
    return subprocess.run([str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = script(tmp_path / "secrets")
    assert made.returncode == 0, made.stderr
    return tmp_path / "secrets"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_every_secret_of_every_compose_file_is_made_and_private(folder: Path) -> None:
    for overlay in OVERLAYS:
        for secret in merged(overlay)["secrets"].values():
            path = folder / Path(secret["file"]).name
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    wanted = {"email_db_key", "session_key", "users_db_key", "huggingface_token", "jwt_secret_previous"}
    assert wanted <= {each.name for each in folder.iterdir()}
    owner = int((folder.parent / "env").read_text().splitlines()[0].removeprefix("NEMO_UID="))
    assert {each.stat().st_uid for each in folder.iterdir() if each.is_file()} == {owner}
    assert owner != 0
    assert script(folder, "--check").returncode == 0


def test_what_is_there_is_never_overwritten_and_what_is_gone_is_made_again(folder: Path) -> None:
    before = contents(folder)
    assert script(folder).returncode == 0
    assert contents(folder) == before
    (folder / "redis_password").unlink()
    assert script(folder).returncode == 0
    after = contents(folder)
    assert after.pop("redis_password") != before.pop("redis_password")
    assert after == before


def test_the_gateway_and_each_service_read_them(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose lays them out: one folder per container, its own private key, the public keys of all."""
    identities = {}
    for service in SERVICE_PORTS:
        inside = tmp_path / service
        inside.mkdir()
        for secret in merged("")["services"][service]["secrets"]:
            source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
            shutil.copy(folder / source, inside / target)
        shutil.copytree(folder / "public_keys", inside / "service_keys")
        monkeypatch.setenv("SECRETS_DIR", str(inside))
        settings = Settings(secrets_dir=inside)
        identities[service] = ServiceIdentity.from_settings(service, settings)
        if service == "api-gateway":
            assert settings.session_secret is not None
            assert settings.session_secret.get_secret_value() == (folder / "session_key").read_text()
            assert settings.jwt_secret_previous is None, "an empty file is no secret"
            assert settings.scrape_token is not None
    caller, _ = identities["rag"].verify(identities["emotion"].token_for("rag"))
    assert caller.service == "emotion"
    false = ServiceIdentity("api-gateway", identities["emotion"]._private, identities["emotion"]._known)
    with pytest.raises(Unauthenticated):
        identities["rag"].verify(false.token_for("rag"))


def test_the_key_of_tokens_is_kept_until_it_is_finished(folder: Path) -> None:
    first = (folder / "jwt_secret_primary").read_text()
    assert script(folder, "--rotate", "jwt_secret_primary").returncode == 0
    assert (folder / "jwt_secret_previous").read_text() == first
    second = (folder / "jwt_secret_primary").read_text()
    assert len(second) >= 32
    assert second != first
    again = script(folder, "--rotate", "jwt_secret_primary")
    assert again.returncode == 1
    assert "--finish jwt_secret_primary" in again.stderr
    assert (folder / "jwt_secret_previous").read_text() == first
    assert script(folder, "--finish", "jwt_secret_primary").returncode == 0
    assert (folder / "jwt_secret_previous").read_text() == ""
    assert script(folder, "--check").returncode == 0


def test_a_service_s_key_changes_with_its_public_half(folder: Path) -> None:
    before = contents(folder)
    assert script(folder, "--rotate", "service_key_rag").returncode == 0
    changed = {name for name, value in contents(folder).items() if value != before[name]}
    assert changed == {"service_key_rag", "public_keys/rag.pub"}
    assert script(folder, "--check").returncode == 0


@pytest.mark.parametrize("name", ["session_key", "users_db_key", "email_db_key", "postgres_user", "nothing"])
def test_what_would_lose_data_is_not_rotated(folder: Path, name: str) -> None:
    before = contents(folder)
    refused = script(folder, "--rotate", name)
    assert refused.returncode == 1
    assert name in refused.stderr
    assert contents(folder) == before


def test_the_check_names_what_is_wrong_and_the_way_out(folder: Path) -> None:
    (folder / "rag_db_key").chmod(0o644)
    (folder / "users_db_key").write_text("short")
    (folder / "redis_password").unlink()
    shutil.copy(folder / "public_keys/tts.pub", folder / "public_keys/rag.pub")
    told = script(folder, "--check")
    assert told.returncode == 1
    for words in (
        "rag_db_key can be read by others; run: chmod 600",
        "users_db_key has 5 characters",
        "redis_password is missing; run",
        "public_keys/rag.pub does not belong to service_key_rag",
    ):
        assert words in told.stderr


def test_an_unknown_option_shows_how_it_is_used(folder: Path) -> None:
    told = script(folder, "--help")
    assert told.returncode == 2
    assert "--rotate NAME" in told.stderr
