"""`fivefold generate` and `fivefold chat`: text that goes on from a prompt, token by token."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from fivefold.cards import ModelCard
from fivefold.cli.bulk import reason
from fivefold.cli.options import DEFAULT_URL, Json, ModelName, Seed, Url, connect
from fivefold.cli.reporting import examples, note
from fivefold.cli.served import card_of, reference
from fivefold.client import Client
from fivefold.errors import InvalidInput
from fivefold.operation import FailedItem
from fivefold.parsing import built
from fivefold.transformer import (
    GENERATE,
    TOKENIZE,
    TransformerGenerateRequest,
    TransformerText,
    TransformerTokenizeRequest,
)

END_OF_TURN = "\n\n"

MaxTokens = Annotated[int, typer.Option(min=1, help="How many tokens at most; a word has one to three.")]
Temperature = Annotated[float, typer.Option(help="0 is the likeliest text, 1 the model's own variety, at most 2.")]
TopK = Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")]
TopP = Annotated[float, typer.Option(help="Draw from the likeliest tokens that together have this probability.")]


def register(app: typer.Typer) -> None:
    shown = examples(
        'fivefold generate "The people" --stream --max-tokens 40',
        'fivefold generate "It is a truth" --temperature 0 --stop .',
        'fivefold generate "Mr. President" --n 3 --seed 7 --json',
        "cat letter.txt | fivefold generate -",
    )
    app.command(epilog=shown)(generate)
    app.command(epilog=examples("fivefold chat", "fivefold chat --temperature 0.5 --seed 7"))(chat)


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to go on from; - is stdin.")],
    max_tokens: MaxTokens = 64,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="End where this comes up; may be repeated.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many texts.")] = 1,
    stream: Annotated[bool, typer.Option("--stream", help="Print each word as soon as it is drawn.")] = False,
    model: ModelName = None,
    seed: Seed = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Go on from a text. The model that ships is a base model: it continues, it does not answer."""
    if stream and n > 1:
        raise InvalidInput(f"{n} texts asked, --stream prints 1: leave out --stream or --n")
    text = typer.get_text_stream("stdin").read() if prompt == "-" else prompt
    fields = {"prompt": text, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "n": n}
    fields |= {"stop": stop or [], "top_k": top_k, "seed": seed, "model": model}
    with connect(url) as client:
        request = _request(fields)
        if not stream:
            _print_texts(client, request, text, as_json=as_json)
        else:
            typer.echo("" if as_json else text, nl=False)
            _print_stream(client, request, as_json=as_json)


def chat(
    max_tokens: MaxTokens = 64,
    temperature: Temperature = 0.8,
    top_k: TopK = None,
    top_p: TopP = 0.95,
    model: ModelName = None,
    seed: Seed = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Write in turns with a model; an empty line or Ctrl-D ends it.

    The model that ships is a base model: it goes on with the text of all turns so far, as far as its context holds
    them, and knows nothing of questions and answers.
    """
    fields: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    with connect(url) as client:
        card = card_of(client, "transformer", model)
        fields |= {"model": reference(card), "stop": [END_OF_TURN]}
        note(f"{card.name} is a base model: it goes on with what is written. An empty line ends.")
        history: list[int] = []
        border = ""  # between the last turn, where it did not end by itself, and the next
        for turn, line in enumerate(_lines()):
            asked = TransformerTokenizeRequest(model=reference(card), texts=[border + line + END_OF_TURN])
            history += client.call(TOKENIZE, asked).results[0].tokens
            part = {"prompt_tokens": history[-_room(card, max_tokens) :], "seed": None if seed is None else seed + turn}
            item = _print_stream(client, _request(fields | part), as_json=as_json)
            history += item.tokens
            border = END_OF_TURN if item.finish_reason == "length" else ""


def _lines() -> Iterator[str]:
    """What is typed, until an empty line or the end."""
    console = Console(file=sys.stderr, highlight=False)
    while True:
        try:
            line = console.input("> ").strip()
        except EOFError:
            console.print()
            return
        if not line:
            return
        yield line


def _room(card: ModelCard, max_tokens: int) -> int:
    """How many tokens of the history fit before an answer. Raises InvalidInput for none."""
    capacity = int(card.parameters["capacity"])
    if max_tokens >= capacity:
        raise InvalidInput(f"{max_tokens} tokens asked, the context is {capacity}: lower --max-tokens")
    return capacity - max_tokens


def _request(fields: dict[str, Any]) -> TransformerGenerateRequest:
    given = {name: value for name, value in fields.items() if value is not None}
    return built(TransformerGenerateRequest, given)


def _print_texts(client: Client, request: TransformerGenerateRequest, prompt: str, *, as_json: bool) -> None:
    for item in client.call(GENERATE, request).items:
        if as_json:
            typer.echo(item.model_dump_json(exclude_none=True))
        elif isinstance(item, FailedItem):
            note(reason(item))
        else:
            typer.echo(prompt + item.text)


def _print_stream(client: Client, request: TransformerGenerateRequest, *, as_json: bool) -> TransformerText:
    """Print the pieces of one text as they come, and return it whole."""
    with client.stream(GENERATE, request) as stream:
        for piece in stream:
            typer.echo(piece.model_dump_json(exclude_none=True) if as_json else piece.text, nl=as_json)
    typer.echo("", nl=not as_json)
    return stream.answer.results[0]
