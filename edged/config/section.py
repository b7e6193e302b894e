"""What all sections of edged.toml have in common."""

from __future__ import annotations

from typing import Annotated, Literal, TypeGuard, get_args, get_origin

from annotated_types import Interval
from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationInfo, field_validator

from edged.core.names import require_name


def _topic_name(value: str) -> str:
    require_name("name", value)
    return value


Seconds = Annotated[float, Interval(gt=0, le=86400)]
TopicName = Annotated[str, AfterValidator(_topic_name)]


class Section(BaseModel, frozen=True):
    """A table of the file: unknown keys are errors, values are what they look like."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what pydantic would convert, a flag for a number or a number for a flag, and text with NUL."""
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("expected a number, got true/false")
        if type(value) in {int, float} and bool in kinds:
            raise ValueError("expected true or false")
        if isinstance(value, str) and "\0" in value and SecretStr not in kinds:  # a broker may accept such a password
            raise ValueError("expected text without NUL characters")
        return value


def _kinds(annotation: object) -> set[object]:
    """The types that a setting may have."""
    if get_origin(annotation) is Literal:
        return {type(choice) for choice in get_args(annotation)}
    return {kind for part in get_args(annotation) for kind in _kinds(part)} or {annotation}


def is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    """Whether it is a model's class. In Python 3.10 `dict[str, X]` passes for a class, and `issubclass` refuses it."""
    return get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel)
