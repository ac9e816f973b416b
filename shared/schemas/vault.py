"""The vault's lock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints, model_validator

from shared.schemas.identity import Password
from shared.schemas.wire import Request, Wire

Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{1,1000}={0,2}$")]


class VaultState(Wire):
    mode: Literal["open", "sealed"]
    """`sealed`: only the password or the recovery code opens it; the server's own keys do not."""
    locked: bool
    """True: everything that reads or writes it answers 423 until it is unlocked."""
    waiting: int = 0
    """Results of background work that go into the vault when it is unlocked."""


class VaultPassword(Request):
    password: Password


class UnlockVault(Request):
    """One of the two. Both: the code opens it, and from then on the account's password does too."""

    password: Password | None = None
    recovery_code: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> UnlockVault:
        if self.password is None and self.recovery_code is None:
            raise ValueError("send `password` or `recovery_code`")
        return self


class RecoveryCode(Wire):
    recovery_code: str
    """Shown this once. Without it and without the password nobody can open the vault, we neither."""


class DoorState(Wire):
    """One service's side of a vault."""

    locked: bool
    waiting: int = 0
    public_key: Base64
    """Of this process alone: the data key comes sealed to it."""


class HandOver(Request):
    """Between services."""

    box: Base64
    """The data key, sealed to the process that asked for it."""
