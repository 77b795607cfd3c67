"""Checked values at both ends of a call: fields -> request, body -> answer."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fivefold.errors import Invalid, InvalidInput, TransportError

ModelT = TypeVar("ModelT", bound=BaseModel)


def built(request: type[ModelT], fields: dict[str, object]) -> ModelT:
    """A request from named fields. Raises InvalidInput, as the service would, before anything is sent."""
    try:
        return request.model_validate(fields)
    except ValidationError as error:
        invalid = _invalid(error)
        raise InvalidInput("; ".join(f"{one.place}: {one.message}" for one in invalid[:10]), invalid=invalid) from error


def parsed(model: type[ModelT], content: bytes | str, request_id: str) -> ModelT:
    """A body as its type; fields that a newer service adds are ignored. Raises TransportError for anything else."""
    try:
        return model.model_validate_json(content, extra="ignore")
    except ValidationError as error:
        first = _invalid(error)[0]
        message = f"the answer is no {model.__name__}: {first.place or 'all of it'}: {first.message}"
        raise TransportError(message, request_id=request_id) from error


def _invalid(error: ValidationError) -> list[Invalid]:
    return [
        Invalid(place=".".join(map(str, one["loc"])), message=f"{one['input']!r:.60} given: {_lowered(one['msg'])}")
        for one in error.errors()
    ]


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
