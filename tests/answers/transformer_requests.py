"""Requests of the transformer family, few tokens each."""

from collections.abc import Iterator
from typing import Any

from tests.answers.wire import CSV, EVENTS, JSON, NPY, SHORT, HttpRequest, ask

MODEL = "transformer-english"
PROSE = "It is a truth universally acknowledged, that a single man must be in want of a wife."
TEXTS = [
    PROSE,
    " said the lady.",
    "Naïve café — 東京 🙂",
    "a",
    "The people of the United States, in order to",
    "\n\n",
    "x" * 90,
]


def transformer_requests() -> Iterator[HttpRequest]:
    yield from _generations()
    yield from _refused_generations()
    yield from _scores()
    yield from _tokens()


def _generations() -> Iterator[HttpRequest]:
    options: dict[str, dict[str, Any]] = {
        "plain": {"prompt": "The people"},
        "greedy": {"prompt": PROSE, "temperature": 0},
        "top-k": {"prompt": "My dear", "top_k": 20},
        "top-p": {"prompt": "My dear", "top_p": 0.7},
        "top-k-top-p-hot": {"prompt": "My dear", "temperature": 1.5, "top_k": 50, "top_p": 0.9},
        "stop": {"prompt": "Naïve", "stop": ["e ", "the"], "max_tokens": 16},
        "stop-tokens": {"prompt": "It was", "stop_tokens": list(range(0, 4096, 65)), "max_tokens": 16},
        "logprobs": {"prompt": PROSE, "logprobs": 3, "max_tokens": 4},
        "logprobs-greedy": {"prompt": "The", "logprobs": 20, "temperature": 0, "max_tokens": 2},
        "prompt-tokens": {"prompt_tokens": [52, 72, 69]},
        "cold": {"prompt": "She", "temperature": 0.2, "max_tokens": 12},
        "long-prompt": {"prompt": PROSE * 5, "max_tokens": 3},
        "one-token": {"prompt": "I", "max_tokens": 1},
        "no-prompt": {},
    }
    for name, fields in options.items():
        given = {"max_tokens": 8, "seed": 5, "n": 2, **fields}
        for accept in (JSON, EVENTS):
            yield ask(MODEL, "generate", f"{name}-{SHORT[accept]}", given, accept=accept, items=2)
    for count in (1, 7, 33):
        fields = {"prompt": "The people", "n": count, "max_tokens": 6, "seed": 1}
        yield ask(MODEL, "generate", f"n-{count}", fields, items=count)
    for accept in (JSON, EVENTS):
        fields = {"prompt": "The people", "seeds": [4, 4, 2**50], "max_tokens": 6}
        yield ask(MODEL, "generate", f"seeds-{SHORT[accept]}", fields, accept=accept, items=3)


def _refused_generations() -> Iterator[HttpRequest]:
    faults: dict[str, dict[str, Any]] = {
        "empty-prompt": {"prompt": ""},
        "prompt-twice": {"prompt": "a", "prompt_tokens": [1]},
        "token-unknown": {"prompt_tokens": [4096]},
        "context-full": {"prompt": "a", "max_tokens": 256},
        "seeds-and-other-n": {"prompt": "a", "seeds": [1, 2], "n": 3},
        "stop-empty": {"prompt": "a", "stop": [""]},
        "field-unknown": {"prompt": "a", "length": 3},
    }
    for name, fields in faults.items():
        yield ask(MODEL, "generate", name, {"seed": 1, **fields})
    yield ask(MODEL, "generate", "npy-refused", {"prompt": "a", "seed": 1}, accept=NPY)


def _scores() -> Iterator[HttpRequest]:
    short = [text for text in TEXTS if text.strip()]
    for accept in (JSON, NPY, CSV):
        for name, fields in {"texts": {"texts": short}, "after": {"prompt": "It is", "texts": short[:2]}}.items():
            items = len(fields["texts"])
            yield ask(MODEL, "score", f"{name}-{SHORT[accept]}", fields, accept=accept, items=items)
    yield ask(MODEL, "score", "tokens", {"tokens": [[52, 72, 69], [79], [0, 1, 2]], "seed": 4}, items=3)
    yield ask(MODEL, "score", "after-tokens", {"prompt_tokens": [52, 72], "tokens": [[69]], "seeds": [3]})
    yield ask(MODEL, "score", "texts-33", {"texts": [f"{number} men" for number in range(33)]}, items=33)
    yield ask(MODEL, "score", "whitespace", {"texts": ["\n\n"]})
    yield ask(MODEL, "score", "neither", {"prompt": "a"})
    yield ask(MODEL, "score", "both", {"texts": ["a"], "tokens": [[1]]}, items=2)
    for on_error in ("fail", "skip"):
        for name, fields in {
            "empty": {"texts": ["one", "", "two"]},
            "too-long": {"texts": ["one", PROSE * 40, "two"]},
            "token-unknown": {"tokens": [[1], [4096], [2]]},
            "no-tokens": {"tokens": [[1], [], [2]]},
            "null": {"texts": ["one", None, "two"]},
        }.items():
            yield ask(MODEL, "score", f"bad-{name}-{on_error}", {**fields, "on_error": on_error}, items=3)


def _tokens() -> Iterator[HttpRequest]:
    yield ask(MODEL, "tokenize", "texts", {"texts": TEXTS}, items=7)
    yield ask(MODEL, "tokenize", "seeds", {"texts": TEXTS[:2], "seeds": [8, 3]}, items=2)
    yield ask(MODEL, "tokenize", "seed", {"texts": ["", "a"], "seed": 8}, items=2)
    yield ask(MODEL, "tokenize", "texts-300", {"texts": [f"{number} men" for number in range(300)]}, items=300)
    yield ask(MODEL, "detokenize", "tokens", {"tokens": [[52, 72, 69], [79, 70], [], [200, 201]]}, items=4)
    yield ask(MODEL, "detokenize", "seeds", {"tokens": [[52], [72]], "seeds": [8, 3]}, items=2)
    for on_error in ("fail", "skip"):
        fields = {"tokens": [[52], [4096], [72]], "on_error": on_error}
        yield ask(MODEL, "detokenize", f"bad-token-{on_error}", fields, items=3)
    yield ask(MODEL, "detokenize", "texts-refused", {"texts": ["a"]})
