"""`fivefold generate` and `chat`, with a tiny language model."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_text
from commands import good, refused, run
from served import serving

from fivefold import Client
from fivefold.cli.generate import END_OF_TURN
from fivefold.transformer import GENERATE, TOKENIZE, TransformerGenerateRequest, TransformerTokenizeRequest
from model_store.store import Store
from service.families.registry import FAMILIES

PROMPT = "The people"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = Store(tmp_path_factory.mktemp("store"))
    tiny_text.publish_text(store)
    with serving(store, FAMILIES) as service:
        yield service.url


@pytest.fixture(autouse=True)
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("FIVEFOLD_URL", url)
    with Client(url) as client:
        yield client


def generated(client: Client, **fields: object) -> list:
    return client.call(GENERATE, TransformerGenerateRequest.model_validate({"seed": 3, **fields})).results


def test_a_prompt_is_printed_with_what_follows(client: Client) -> None:
    (item,) = generated(client, prompt=PROMPT, max_tokens=8)
    shown = good("generate", PROMPT, "--max-tokens", 8, "--seed", 3).stdout
    assert shown == PROMPT + item.text + "\n"
    assert good("generate", "-", "--max-tokens", 8, "--seed", 3, given=PROMPT).stdout == shown
    assert good("generate", PROMPT, "--max-tokens", 8, "--seed", 3, "--stream").stdout == shown


def test_options_reach_the_model(client: Client) -> None:
    fields = {"temperature": 0.5, "top_k": 3, "top_p": 0.9, "stop": ["e", "o"], "max_tokens": 20, "n": 2}
    wanted = generated(client, prompt=PROMPT, **fields)
    shown = good(
        "generate", PROMPT, "--temperature", 0.5, "--top-k", 3, "--top-p", 0.9, "--stop", "e", "--stop", "o",
        "--max-tokens", 20, "-n", 2, "--seed", 3, "--json",
    )  # fmt: skip
    assert [json.loads(line) for line in shown.stdout.splitlines()] == [
        item.model_dump(exclude_none=True) for item in wanted
    ]


def test_streamed_json_is_a_piece_a_line(client: Client) -> None:
    (item,) = generated(client, prompt=PROMPT, max_tokens=8)
    shown = good("generate", PROMPT, "--max-tokens", 8, "--seed", 3, "--stream", "--json").stdout
    pieces = [json.loads(line) for line in shown.splitlines()]
    assert [piece["token"] for piece in pieces] == item.tokens
    assert "".join(piece["text"] for piece in pieces) == item.text


def test_chat_goes_on_with_all_turns_as_far_as_the_context_holds_them(client: Client) -> None:
    lines, answers, history, border = ["the people", "of the union are here", "no letters"], [], [], ""
    for turn, line in enumerate(lines):
        asked = TransformerTokenizeRequest(texts=[border + line + END_OF_TURN])
        history += client.call(TOKENIZE, asked).results[0].tokens
        room = tiny_text.CAPACITY - 8
        (item,) = generated(
            client, prompt_tokens=history[-room:], max_tokens=8, seed=3 + turn, temperature=0.8, top_p=0.95,
            stop=[END_OF_TURN],
        )  # fmt: skip
        history += item.tokens
        border = END_OF_TURN if item.finish_reason == "length" else ""
        answers.append(item.text + "\n")
    assert len(history) > tiny_text.CAPACITY
    for end in ("", "\n", "\n\nnot read"):
        chatted = good("chat", "--max-tokens", 8, "--seed", 3, given="\n".join(lines) + end)
        assert chatted.stdout == "".join(answers)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("generate", PROMPT, "--max-tokens", 64), "67 tokens asked, the context is 32"),
        (("generate", PROMPT, "--temperature", 3), "temperature: 3.0 given"),
        (("generate", PROMPT, "--stream", "-n", 2), "2 texts asked, --stream prints 1"),
        (("generate", ""), ""),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: tuple[object, ...], line: str) -> None:
    assert refused(*arguments).startswith(f"invalid_input: {line}")


def test_a_chat_says_what_its_model_is_and_needs_room_for_the_turns() -> None:
    assert "tiny-text is a base model" in good("chat", given="").stderr
    done = run("chat", "--max-tokens", tiny_text.CAPACITY, given="hello\n")
    assert done.exit_code == 2
    assert done.stderr.endswith("invalid_input: 32 tokens asked, the context is 32: lower --max-tokens\n")


def test_another_family_is_named_where_none_is_served(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    line = refused("anomaly", tmp_path / "photo.png", exit_code=1)
    assert line == "unknown_model: no vae model is served, only tiny-text: see `fivefold models`"
