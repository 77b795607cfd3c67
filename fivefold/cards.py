"""The public card of a served model."""

from typing import Any

from pydantic import BaseModel


class ModelCard(BaseModel):
    """What a client may know of a model.

    `default` marks the model that a request of its family without `model` means; `aliases` are other names of this
    version. One that is not `loaded` is loaded with its next request. `metrics` have their units in their names.
    `parameters` are the family's: shapes, classes, columns.
    """

    name: str
    version: str
    digest: str
    family: str
    default: bool
    aliases: list[str]
    operations: list[str]
    loaded: bool = True
    device: str
    scope: str
    exactness: str
    licence: str
    trained_at: str
    metrics: dict[str, float]
    parameters: dict[str, Any]


class ModelList(BaseModel):
    """Every model that is served now."""

    models: list[ModelCard]


class Health(BaseModel):
    """What a probe answers where all is well; elsewhere the answer is a problem document with the reasons."""

    status: str
