"""`nemo users`: for the operator who has the machine but not the password."""

from __future__ import annotations

import sys
from getpass import getpass

from pydantic import ValidationError

from services.api_gateway.repository import Accounts
from services.api_gateway.service import Identity
from services.api_gateway.settings import Settings
from shared.auth.tokens import UserTokens
from shared.errors import ProductError
from shared.schemas.identity import Register
from shared.settings import require_secret
from shared.storage.redis import MemoryStore


async def run(what: str, username: str | None) -> int:
    if what != "list" and not username:
        print(f"Whose? `nemo users {what} NAME`")
        return 2
    settings = Settings()
    accounts = Accounts(settings.data_dir / "users.db", require_secret("USERS_DB_KEY", settings.users_db_key))
    try:
        if what == "list":
            for user in accounts.users(1000, None):
                print(f"{user.username:<30} {user.role:<6} {'disabled' if user.disabled else ''}".rstrip())
            return 0
        return await _change(what, _identity(settings, accounts), str(username))
    except (ProductError, ValidationError) as error:
        print(f"!!  {error.detail if isinstance(error, ProductError) else 'That is no user name that can be used.'}")
        return 1
    finally:
        accounts.close()


def _identity(settings: Settings, accounts: Accounts) -> Identity:
    tokens = UserTokens(require_secret("JWT_SECRET", settings.jwt_secret_primary))
    secret = require_secret("SESSION_SECRET", settings.session_secret)
    open_to_us = settings.model_copy(update={"registration": "open"})  # who has the machine may always add somebody
    return Identity(open_to_us, accounts, MemoryStore(), tokens, secret)


async def _change(what: str, identity: Identity, username: str) -> int:
    password = _ask_password()
    if what == "add":
        user = await identity.register(Register(username=username, password=password))
        print(f"{user.username} can sign in now ({user.role}).")
    else:
        await identity.set_password(username, password)
        print("The password is changed; the user's sessions have ended.")
        print("A sealed vault stays under the old one; its user unlocks it with the recovery code.")
    return 0


def _ask_password() -> str:
    """From the terminal, unseen; from a pipe its first line."""
    return getpass("New password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
