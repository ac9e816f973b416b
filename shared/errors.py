"""What may go wrong, in our words.

* ProductError               500
  + StageFailed              500
  + BadRequest               400
    - Invalid                422
      . AudioUnreadable      422
      . AudioTooLong         422
      . DocumentUnreadable   422
      . ImportRefused        422
    - UnsupportedMedia       415
    - TooLarge               413
    - ContextExceeded        400
  + Unauthenticated          401
  + Forbidden                403
    - EgressRefused          403
  + NotFound                 404
    - ModelNotFound          404
  + MethodNotAllowed         405
  + Conflict                 409
    - AlreadyExists          409
    - StillRunning           409
    - StaleToken             409
    - StaleInstance          409
  + PreconditionFailed       412
  + RangeNotSatisfiable      416
  + VaultLocked              423
  + RateLimited              429
  + Busy                     503
    - ModelNotReady          503
      . ModelLost            503
      . ModelOutOfMemory     503
      . ModelFailed          503
    - StorageFailed          503
    - DiskFull               507
  + UpstreamUnavailable      502
  + DeadlineExceeded         504

Each class is also its message: the docstring's first line is the title that a user reads. An error crosses the network
as `application/problem+json` (RFC 9457) and is rebuilt as the same class on the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from shared.schemas.problem import FieldError, Problem

_BY_CODE: dict[str, type[ProductError]] = {}


class ProductError(Exception):
    """Something went wrong on our side."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        """`detail` says what happened here and what to do; `retry_after_s` becomes `Retry-After`."""
        self.detail = detail or self.title()
        self.errors = list(errors)
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)

    def __init_subclass__(cls) -> None:
        _BY_CODE[cls.code] = cls

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    def to_problem(self, *, instance: str, request_id: str) -> Problem:
        return Problem(
            type=f"/problems/{self.code}",
            title=self.title(),
            status=self.status,
            detail=self.detail,
            instance=instance,
            code=self.code,
            request_id=request_id,
            errors=self.errors,
        )


class StageFailed(ProductError):
    """A late stage of the work failed; what the others made is kept."""

    code = "stage_failed"


class BadRequest(ProductError):
    """The request cannot be understood."""

    status = 400
    code = "bad_request"


class Invalid(BadRequest):
    """Some of the values sent are not valid."""

    status = 422
    code = "invalid"


class AudioUnreadable(Invalid):
    """This file could not be read as audio."""

    code = "audio_unreadable"


class DocumentUnreadable(Invalid):
    """The file cannot be read as a document."""

    code = "document_unreadable"


class AudioTooLong(Invalid):
    """This recording is longer than the limit."""

    code = "audio_too_long"


class ImportRefused(Invalid):
    """The file is no export of a vault, or it was changed since; nothing of it was taken."""

    code = "import_refused"


class UnsupportedMedia(BadRequest):
    """This kind of content is not accepted here."""

    status = 415
    code = "unsupported_media"


class TooLarge(BadRequest):
    """What was sent is larger than the limit."""

    status = 413
    code = "too_large"


class ContextExceeded(BadRequest):
    """This is longer than the language model can read at once."""

    code = "context_length_exceeded"


class Unauthenticated(ProductError):
    """Sign in first: the token is missing, expired or not valid."""

    status = 401
    code = "unauthenticated"


class Forbidden(ProductError):
    """This account may not do that."""

    status = 403
    code = "forbidden"


class EgressRefused(Forbidden):
    """What is remembered does not leave this machine unless its operator allowed it."""

    code = "egress_refused"


class NotFound(ProductError):
    """There is nothing here under that id."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """There is no model of that name here."""

    code = "model_not_found"


class MethodNotAllowed(ProductError):
    """This address does not take that method."""

    status = 405
    code = "method_not_allowed"


class Conflict(ProductError):
    """This contradicts what is already there."""

    status = 409
    code = "conflict"


class AlreadyExists(Conflict):
    """That name is already taken."""

    code = "already_exists"


class StillRunning(Conflict):
    """The same request is still being worked on."""

    code = "still_running"


class OffsetConflict(Conflict):
    """This piece does not begin where the last one ended."""

    code = "offset_conflict"


class StaleToken(Conflict):
    """This task is no longer yours: its lease ran out and another worker has it."""

    code = "stale_token"


class StaleInstance(Conflict):
    """Another process speaks for this holder by now, or its lease ran out: let go of the memory and register anew."""

    code = "stale_instance"


class CursorOutdated(ProductError):
    """What changed since then is not known any more; read everything anew, without a cursor."""

    status = 410
    code = "cursor_outdated"


class PreconditionFailed(ProductError):
    """Somebody changed this meanwhile; read it again and retry."""

    status = 412
    code = "precondition_failed"


class RangeNotSatisfiable(ProductError):
    """The file has no such range of bytes."""

    status = 416
    code = "range_not_satisfiable"


class VaultLocked(ProductError):
    """This vault is sealed; unlock it with your password first."""

    status = 423
    code = "vault_locked"


class RateLimited(ProductError):
    """Too many requests; wait a moment."""

    status = 429
    code = "rate_limited"


class Busy(ProductError):
    """No capacity is left; try again in a moment."""

    status = 503
    code = "busy"


class ModelNotReady(Busy):
    """The model for this is not loaded yet."""

    code = "model_not_ready"


class ModelLost(ModelNotReady):
    """The model's process ended in the middle of its work; it is started again."""

    code = "model_lost"


class ModelOutOfMemory(ModelNotReady):
    """The model does not fit into the memory that is free."""

    code = "out_of_memory"


class ModelFailed(ModelNotReady):
    """The model could not cope with this; its log says more."""

    code = "model_failed"


class StorageFailed(Busy):
    """The storage does not answer; nothing that was saved is lost."""

    code = "storage_failed"


class DiskFull(Busy):
    """The disk is full; free some space and try again."""

    status = 507
    code = "disk_full"


class UpstreamUnavailable(ProductError):
    """A service behind the gateway does not answer."""

    status = 502
    code = "upstream_unavailable"


class DeadlineExceeded(ProductError):
    """This took longer than allowed and was stopped."""

    status = 504
    code = "deadline_exceeded"


def codes() -> tuple[str, ...]:
    """Of all errors that there are."""
    return tuple(sorted({ProductError.code, *_BY_CODE}))


def from_problem(body: dict[str, Any], *, status: int, retry_after_s: float | None = None) -> ProductError:
    """The error that another service raised, as the same class; unknown codes stay `ProductError`."""
    kind = _BY_CODE.get(str(body.get("code")), ProductError)
    return kind(
        str(body["detail"]) if body.get("detail") else f"status {status}" if kind is ProductError else None,
        errors=[FieldError.model_validate(each) for each in body.get("errors") or []],
        retry_after_s=retry_after_s,
    )
