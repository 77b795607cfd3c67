"""What the service has: the model of a family, its classes, the form of its data."""

import math
from typing import Any

from fivefold.cards import ModelCard
from fivefold.client import Client
from fivefold.errors import InvalidInput, UnknownModel


def card_of(client: Client, family: str, name: str | None, *, width: int | None = None) -> ModelCard:
    """The named model, or else the family's default; the first whose rows have `width` numbers, where that is given.

    Raises UnknownModel, and InvalidInput for a model of another family or width.
    """
    cards = _named(client, family, name) if name is not None else _all(client, family)
    for card in cards:
        if width in (None, width_of(card)):
            return card
    known = ", ".join(f"{card.name} has {width_of(card)}" for card in cards)
    raise InvalidInput(f"{width} columns given, {known}: give rows of a served model's width")


def _named(client: Client, family: str, name: str) -> list[ModelCard]:
    card = client.model(name)
    if card.family != family:
        raise InvalidInput(f"{name} is a {card.family} model, {family} is asked: leave --model out, or name another")
    return [card]


def _all(client: Client, family: str) -> list[ModelCard]:
    """The family's models, the default first."""
    cards = client.models()
    if found := [card for card in cards if card.family == family]:
        return sorted(found, key=lambda card: not card.default)
    names = ", ".join(card.name for card in cards) or "nothing"
    raise UnknownModel(f"no {family} model is served, only {names}: see `fivefold models`")


def reference(card: ModelCard) -> str:
    """The card's very version, so that the parts of one command never run on two."""
    return f"{card.name}@{card.version}"


def shape_of(card: ModelCard) -> tuple[int, ...]:
    """[C, H, W] of a picture, [columns] of a table's row, empty for text."""
    parameters = card.parameters
    return tuple(parameters.get("image_shape") or parameters.get("event_shape") or ())


def is_picture(card: ModelCard) -> bool:
    return len(shape_of(card)) == 3


def width_of(card: ModelCard) -> int:
    """How many numbers one row of the model's data has."""
    return math.prod(shape_of(card))


def class_of(card: ModelCard, text: str) -> str:
    """The class that `text` means: the whole name, else its only beginning, else its only part. Raises InvalidInput."""
    classes: list[str] = list(card.parameters.get("classes", ()))
    if not classes:
        raise InvalidInput(f"class {text!r} given, {card.name} has none: leave --class out")
    asked = text.lower()
    tests: tuple[Any, ...] = (asked.__eq__, lambda name: name.startswith(asked), lambda name: asked in name)
    found = next((hits for test in tests if (hits := [name for name in classes if test(name.lower())])), [])
    if len(found) == 1:
        return found[0]
    meaning = f"can be {' or '.join(found)}" if found else "is none of its classes"
    raise InvalidInput(f"class {text!r} {meaning}: {card.name} has {', '.join(classes)}")
