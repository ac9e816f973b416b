"""What the gateway reads."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, StringConstraints, field_validator
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
    """Still verifies while a new secret is introduced; several are separated by white space. Empty: none."""
    session_secret: SecretStr | None = shared_name("SESSION_SECRET", None)
    """Makes refresh tokens and the pepper of passwords; at least 32 characters."""
    users_db_key: SecretStr | None = shared_name("USERS_DB_KEY", None)
    """Key of the encrypted database of users; at least 32 characters."""
    registration: Literal["auto", "open", "closed"] = shared_name("REGISTRATION", "auto")
    """Who may make an account after the first: open, closed, or auto (open while bound to loopback without a proxy)."""
    allowed_origins: str = shared_name("ALLOWED_ORIGINS", "")
    """Other web origins that may call, exact, separated by commas. Empty: none."""
    trusted_proxies: str = shared_name("TRUSTED_PROXIES", "")
    """Addresses and networks (CIDR) of reverse proxies, separated by commas, whose X-Forwarded-For and
    X-Forwarded-Proto are believed; the address that limits and the audit log know comes from there. Empty: nobody's."""
    server_name: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "Nemo Server"
    """What clients call this server; anybody may read it."""
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
    voice_sessions: int = Field(2, ge=1)
    """Voice chats that one user may have open at once."""
    voice_minutes: float = Field(60.0, gt=0)
    """Longest voice chat, in minutes; the conversation can be gone on with in another one."""
    voice_silence_ms: int = Field(900, ge=0, le=10_000)
    """Silence that ends a question where the hands are free, in milliseconds. The detector needs 544 of them."""
    voice_barge_in_ms: int = Field(300, ge=0, le=5_000)
    """Speech over an answer that ends it, in milliseconds. 0: as soon as the detector hears some (160)."""
    voice_barge_in_dbfs: float = Field(-40.0, ge=-90, le=0)
    """How loud that speech must be while the answer sounds, in dB of full scale, so that what the microphone hears of
    the answer does not end it."""
    voice_spoken_chars: int = Field(1500, ge=1)
    """Most of an answer that is said aloud, in characters (about 15 a second); the rest comes as text only."""
    bcrypt_rounds: int = Field(12, ge=4, le=16)
    """Cost of password hashing, as a power of two; below 12 for tests only."""

    vault_memory_kib: int = Field(64 * 1024, ge=1024, le=1024**2)
    """Memory that one guess at the password of a sealed vault takes, in KiB; below 65536 for tests only."""

    @property
    def max_file_bytes(self) -> int:
        """Largest file: an upload without its form."""
        return self.max_upload_bytes - 1024**2

    @property
    def registration_open(self) -> bool:
        if self.registration == "auto":
            return not self.proxies and self.host in ("127.0.0.1", "::1", "localhost")
        return self.registration == "open"

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for each in _listed(value):
            try:
                network = ip_network(each)
            except ValueError as error:
                raise ValueError(
                    f"TRUSTED_PROXIES has {each!r}; write addresses or networks, as in 10.0.0.7,172.18.0.0/16"
                ) from error
            if network.prefixlen == 0:
                raise ValueError(f"TRUSTED_PROXIES has {each}: then anybody could claim any address; name your proxies")
        return value

    @property
    def proxies(self) -> list[str]:
        return _listed(self.trusted_proxies)

    @property
    def origins(self) -> list[str]:
        return [origin.rstrip("/") for origin in _listed(self.allowed_origins)]


def _listed(value: str) -> list[str]:
    return [each.strip() for each in value.split(",") if each.strip()]
