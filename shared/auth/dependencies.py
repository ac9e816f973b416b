"""The classes of routes. Every route carries exactly one; `create_service` refuses to start otherwise."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Annotated, Any, Protocol

from fastapi import Depends, Query
from fastapi.dependencies.models import Dependant
from starlette.requests import HTTPConnection

from shared.auth.principal import Caller, Principal
from shared.errors import Forbidden, Unauthenticated


class Authenticator(Protocol):
    """How the gateway finds out who a user is; kept in `app.state.authenticator`."""

    async def authenticate(self, connection: HTTPConnection, token: str) -> Principal:
        """Raises Unauthenticated."""
        ...

    async def redeem(self, connection: HTTPConnection, ticket: str) -> Principal:
        """Of a one-use ticket. Raises Unauthenticated."""
        ...

    async def follow(self, connection: HTTPConnection, link: str) -> Principal:
        """Of a signed link to this very address. Raises Unauthenticated."""
        ...


def bearer_token(connection: HTTPConnection) -> str:
    """The token of `Authorization: Bearer ...`. Raises Unauthenticated."""
    values = connection.headers.getlist("authorization")
    scheme, _, token = (values[0] if len(values) == 1 else "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token.strip()


async def public() -> None:
    """Anybody may call this."""


async def calling_service(connection: HTTPConnection) -> Caller:
    """One of the platform's own services calls, for a user or for itself."""
    caller: Caller = await connection.app.state.door.admit(bearer_token(connection))
    return caller


def is_collector(connection: HTTPConnection) -> bool:
    """Does the caller hold the scrape token? Raises Unauthenticated where it brings none at all."""
    given, wanted = bearer_token(connection), connection.app.state.settings.scrape_token
    return bool(wanted) and hmac.compare_digest(given.encode(), wanted.get_secret_value().encode())


async def collecting(connection: HTTPConnection) -> None:
    """One of the platform's own services, or the collector of metrics, calls."""
    if not is_collector(connection):
        await calling_service(connection)


async def calling_for_user(caller: Annotated[Caller, Depends(calling_service)]) -> Principal:
    """A service calls on behalf of this user."""
    if caller.user is None:
        raise Forbidden("This route needs a user.")
    return caller.user


async def current_user(connection: HTTPConnection) -> Principal:
    """A user calls the gateway."""
    authenticator: Authenticator = connection.app.state.authenticator
    return await authenticator.authenticate(connection, bearer_token(connection))


async def socket_user(connection: HTTPConnection, ticket: str | None = None) -> Principal:
    """A user opens a WebSocket at the gateway, with the Authorization header or `?ticket=`."""
    authenticator: Authenticator = connection.app.state.authenticator
    if ticket is not None and "authorization" not in connection.headers:
        return await authenticator.redeem(connection, ticket)
    return await authenticator.authenticate(connection, bearer_token(connection))


async def linked_user(
    connection: HTTPConnection, link: Annotated[str | None, Query(include_in_schema=False)] = None
) -> Principal:
    """A user reads one thing, with the Authorization header or, where a page cannot send one, by `?link=`."""
    authenticator: Authenticator = connection.app.state.authenticator
    if link is not None and "authorization" not in connection.headers:
        return await authenticator.follow(connection, link)
    return await authenticator.authenticate(connection, bearer_token(connection))


async def admin_user(user: Annotated[Principal, Depends(current_user)]) -> Principal:
    """An administrator calls the gateway."""
    if user.role != "admin" or "admin" not in user.scopes:
        raise Forbidden("Only an administrator may do that.")
    return user


PublicRoute = Depends(public)
FromService = Annotated[Caller, Depends(calling_service)]
FromCollector = Annotated[None, Depends(collecting)]
ForUser = Annotated[Principal, Depends(calling_for_user)]
CurrentUser = Annotated[Principal, Depends(current_user)]
SocketUser = Annotated[Principal, Depends(socket_user)]
LinkedUser = Annotated[Principal, Depends(linked_user)]
AdminUser = Annotated[Principal, Depends(admin_user)]

# From the strictest to the widest: a route that depends on `admin_user` depends on `current_user` too.
CLASSES: dict[Any, str] = {
    admin_user: "admin",
    current_user: "user",
    socket_user: "user",
    linked_user: "user",
    calling_service: "service",
    collecting: "service",
    public: "public",
}


def classes_of(dependant: Dependant) -> set[str]:
    """The class names found among all dependencies of a route, the widest of a chain left out."""
    found = {CLASSES[call] for call in _calls(dependant) if call in CLASSES}
    return found - {"user"} if "admin" in found else found


def _calls(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from _calls(each)
