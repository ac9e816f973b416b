"""What a user may say of an upload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, model_validator

from services.transcription.engines import Capabilities
from services.transcription.redaction import Kind, parse
from shared.errors import Invalid
from shared.schemas.problem import FieldError
from shared.schemas.transcription import Channels, Tag, Title
from shared.schemas.wire import Request

Count = Annotated[int, Field(ge=1, le=20)]


class UploadOptions(Request):
    """The form fields beside the file."""

    title: Title | None = None
    context: Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)] | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    diarize: bool = True
    num_speakers: Count | None = None
    min_speakers: Count | None = None
    max_speakers: Count | None = None
    channels: Channels = "auto"
    channel_labels: Annotated[str, StringConstraints(max_length=1000)] | None = None
    hotwords: Annotated[str, StringConstraints(max_length=1000)] | None = None
    emotion: bool = True
    remember: bool = True
    tags: Annotated[list[Tag], Field(max_length=50)] = Field(default_factory=list)
    redact: list[Kind] = Field(default_factory=list)

    @model_validator(mode="after")
    def _counts_agree(self) -> UploadOptions:
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError("min_speakers is larger than max_speakers")
        return self


def read(fields: Mapping[str, str], able: Capabilities | None) -> UploadOptions:
    """Checked options of form fields. Raises Invalid naming each field that is wrong."""
    values: dict[str, Any] = {name: value for name, value in fields.items() if value != "" and name != "wait_s"}
    return checked(values, able)


def checked(values: dict[str, Any], able: Capabilities | None) -> UploadOptions:
    """Raises Invalid naming each field that is wrong."""
    if isinstance(values.get("tags"), str):
        values["tags"] = [each.strip() for each in values["tags"].split(",") if each.strip()]
    if isinstance(values.get("redact"), str):
        values["redact"] = sorted(parse(values["redact"]))
    try:
        options = UploadOptions.model_validate(values)
    except ValidationError as error:
        found = [
            FieldError(pointer="/" + "/".join(map(str, each["loc"])), detail=each["msg"]) for each in error.errors()
        ]
        raise Invalid("; ".join(f"{each.pointer}: {each.detail}" for each in found), errors=found) from error
    if able and options.language and options.language not in able.languages:
        known = ", ".join(sorted(able.languages)[:20])
        raise Invalid(
            f"The model {able.model} understands {known} only; set TRANSCRIPTION_MODEL to a multilingual one for"
            f" {options.language!r}.",
            errors=[FieldError(pointer="/language", detail="not supported by this model")],
        )
    return options
