"""What the gateway reads."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, shared_name


class Settings(ServiceSettings):
    """Identity, limits and the web page."""

    model_config = SettingsConfigDict(env_prefix="API_GATEWAY_")

    jwt_secret_primary: SecretStr | None = Field(
        None, validation_alias=AliasChoices("JWT_SECRET", "JWT_SECRET_PRIMARY", "jwt_secret_primary")
    )
    """Signs access tokens; at least 32 characters. Also read as JWT_SECRET."""
    jwt_secret_previous: SecretStr | None = shared_name("JWT_SECRET_PREVIOUS", None)
    """Still verifies while a new secret is introduced. Empty: none."""
    session_secret: SecretStr | None = shared_name("SESSION_SECRET", None)
    """Makes refresh tokens and the pepper of passwords; at least 32 characters."""
    users_db_key: SecretStr | None = shared_name("USERS_DB_KEY", None)
    """Key of the encrypted database of users; at least 32 characters."""
    registration: Literal["auto", "open", "closed"] = shared_name("REGISTRATION", "auto")
    """Who may make an account after the first: open, closed, or auto (open while bound to loopback)."""
    allowed_origins: str = shared_name("ALLOWED_ORIGINS", "")
    """Other web origins that may call, exact, separated by commas. Empty: none."""
    access_life_s: int = 900
    """Life of an access token, in seconds."""
    refresh_life_s: int = 30 * 86400
    """Life of a session without use, in seconds."""
    requests_per_minute: int = 600
    """Requests that one user may make in a minute."""
    sign_ins_per_minute: int = 10
    """Sign-ins tried for one account in a minute; three times as many from one address."""
    max_upload_bytes: int = 1024**3 + 1024**2
    """Largest body of an upload, in bytes."""
    max_body_bytes: int = 2 * 1024**2
    """Largest body of any other request, in bytes."""
    scrape_token: SecretStr | None = None
    """Lets a collector on another machine read /metrics as a bearer token. Empty: loopback only."""
    bcrypt_rounds: int = Field(12, ge=4, le=16)
    """Cost of password hashing, as a power of two; below 12 for tests only."""

    vault_memory_kib: int = Field(64 * 1024, ge=1024, le=1024**2)
    """Memory that one guess at the password of a sealed vault takes, in KiB; below 65536 for tests only."""

    @property
    def registration_open(self) -> bool:
        if self.registration == "auto":
            return self.host in ("127.0.0.1", "::1", "localhost")
        return self.registration == "open"

    @property
    def origins(self) -> list[str]:
        return [origin.strip().rstrip("/") for origin in self.allowed_origins.split(",") if origin.strip()]
