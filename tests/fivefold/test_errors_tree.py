"""Errors = codes: the class tree, its codes, and the tree drawn in the docstring."""

import re

import pytest

from fivefold import errors
from fivefold.errors import FivefoldError, Invalid, error_of


def all_errors(kind: type[FivefoldError] = FivefoldError) -> list[type[FivefoldError]]:
    """Only our own: a test may derive from them."""
    ours = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(error for child in ours for error in all_errors(child))]


def test_every_error_has_a_code_and_a_title_of_its_own() -> None:
    codes = [error.code for error in all_errors()]
    assert len(set(codes)) == len(codes)
    assert len({error.title for error in all_errors()}) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("error", all_errors())
def test_a_code_leads_back_to_its_class(error: type[FivefoldError]) -> None:
    assert error_of(error.code) is error


def test_a_code_of_a_newer_service_is_the_base_class() -> None:
    assert error_of("not_invented_yet") is FivefoldError


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = re.findall(r"^([│ ├└─]+)(\w+) +(\w+)", errors.__doc__ or "", re.MULTILINE)
    parents, seen = {0: "FivefoldError"}, []
    for indent, name, code in drawn:
        depth = len(indent) // 4
        parents[depth] = name
        seen.append((parents[depth - 1], name, code))
    assert seen == [(error.__bases__[0].__name__, error.__name__, error.code) for error in all_errors()[1:]]


def test_an_error_carries_all_it_was_told() -> None:
    place = Invalid(place="n", message="0 given")
    error = errors.QueueFull("full", invalid=[place], retry_after_s=2.0, request_id="r", retryable=False)
    assert (str(error), error.invalid, error.retry_after_s, error.request_id) == ("full", (place,), 2.0, "r")
    assert not error.retryable
    assert errors.QueueFull("full").retryable
