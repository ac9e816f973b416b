"""`nemo users`: for the operator who has the machine but not the password."""

from __future__ import annotations

from getpass import getpass

from services.api_gateway.repository import Accounts
from services.api_gateway.service import Identity
from services.api_gateway.settings import Settings
from shared.auth.tokens import UserTokens
from shared.errors import ProductError
from shared.settings import require_secret
from shared.storage.redis import MemoryStore


async def run(what: str, username: str | None) -> int:
    settings = Settings()
    accounts = Accounts(settings.data_dir / "users.db", require_secret("USERS_DB_KEY", settings.users_db_key))
    try:
        if what == "list":
            for user in accounts.users(1000, None):
                print(f"{user.username:<30} {user.role:<6} {'disabled' if user.disabled else ''}".rstrip())
            return 0
        return await _set_password(settings, accounts, username)
    finally:
        accounts.close()


async def _set_password(settings: Settings, accounts: Accounts, username: str | None) -> int:
    if not username:
        print("Whose? `nemo users set-password NAME`")
        return 2
    tokens = UserTokens(require_secret("JWT_SECRET", settings.jwt_secret_primary))
    secret = require_secret("SESSION_SECRET", settings.session_secret)
    identity = Identity(settings, accounts, MemoryStore(), tokens, secret)
    try:
        await identity.set_password(username, getpass("New password: "))
    except ProductError as error:
        print(f"!!  {error.detail}")
        return 1
    print("The password is changed; the user's sessions have ended.")
    return 0
