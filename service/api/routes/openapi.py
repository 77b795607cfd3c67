"""The OpenAPI document: every operation with its schemas, media types and an example that works."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fivefold.errors import Invalid
from fivefold.jobs import JobDocument
from fivefold.operation import CSV_TYPE, EVENT_STREAM_TYPE, JSON_TYPE, AnyOperation
from service.api.execution.submission import MAX_KEY_CHARACTERS
from service.api.media.problem_json import PROBLEM_TYPE
from service.families.pipeline import Pipeline

REFERENCE = "#/components/schemas/{model}"
ERRORS = ("401", "403", "404", "406", "409", "413", "415", "422", "429", "500", "503", "504")
# The empty one: a service without a keys file asks for none.
NO_KEY: dict[str, list[str]] = {}
SECURITY_SCHEMES = {
    "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}

PARAMETERS = [
    {"name": name, "in": "header", "description": description, "schema": {"type": "string", **bounds}}
    for name, description, bounds in (
        ("Prefer", "`respond-async`: answer 202 with a job; see /v1/jobs", {}),
        ("Idempotency-Key", "the same key and body are the same job", {"maxLength": MAX_KEY_CHARACTERS}),
    )
]


class Problem(BaseModel):
    """RFC 9457; `code` is stable, `errors` names the places of invalid input."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Invalid]


def openapi(app: FastAPI, pipelines: Sequence[Pipeline[Any]], root_path: str) -> dict[str, Any]:
    """FastAPI's document of the system routes, with the operations added."""
    operations = [pipeline.operation for pipeline in pipelines]
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    references, definitions = models_json_schema(list(_models(operations)), ref_template=REFERENCE)
    if root_path:
        document["servers"] = [{"url": root_path}]
    components = document.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = security([])
    schemas = components.setdefault("schemas", {})
    schemas.update(definitions.get("$defs", {}))
    problem = {PROBLEM_TYPE: {"schema": references[Problem, "serialization"]}}
    for pipeline in pipelines:
        described = _operation(pipeline.operation, references, problem)
        if pipeline.kind is not None:
            described["responses"]["202"] = _accepted(references)
        document["paths"][pipeline.operation.path] = {"post": described}
    return document


def _models(operations: Iterable[AnyOperation]) -> Iterable[tuple[type[BaseModel], Any]]:
    yield Problem, "serialization"
    yield JobDocument, "serialization"
    for operation in operations:
        yield operation.request, "validation"
        yield operation.answer, "serialization"
        if operation.chunk is not None:
            yield operation.chunk, "serialization"


def _operation(operation: AnyOperation, references: Any, problem: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        JSON_TYPE: {"schema": references[operation.request, "validation"], "example": dict(operation.example)}
    }
    body |= {media_type: {"schema": _raw(media_type)} for media_type in operation.bodies}
    answers: dict[str, Any] = {media_type: {"schema": _raw(media_type)} for media_type in operation.answers}
    answers[JSON_TYPE] = {"schema": references[operation.answer, "serialization"]}
    if operation.chunk is not None:
        answers[EVENT_STREAM_TYPE] = {"schema": references[operation.chunk, "serialization"]}
    return {
        "operationId": f"{operation.family}_{operation.name.replace('-', '_')}",
        "tags": [operation.family],
        "security": security([operation.scope]),
        "summary": operation.summary,
        "description": (operation.request.__doc__ or "").strip(),
        "parameters": PARAMETERS,
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "The answer", "content": answers},
            **{status: {"description": "A problem", "content": problem} for status in ERRORS},
        },
    }


def _accepted(references: Any) -> dict[str, Any]:
    location = {"description": "/v1/jobs/{id}", "schema": {"type": "string"}}
    content = {JSON_TYPE: {"schema": references[JobDocument, "serialization"]}}
    return {"description": "A job: `Prefer: respond-async`", "headers": {"Location": location}, "content": content}


def security(scopes: list[str]) -> list[dict[str, list[str]]]:
    """A key in either header, with the scopes it needs."""
    return [NO_KEY, *({name: scopes} for name in SECURITY_SCHEMES)]


def _raw(media_type: str) -> dict[str, str]:
    return {"type": "string"} if media_type == CSV_TYPE else {"type": "string", "format": "binary"}
