"""Transformer: generate and score text, token by token; its tokenizer."""

from typing import Annotated, Literal

from pydantic import Field

from fivefold.items import Items
from fivefold.operation import (
    CSV_TYPE,
    JSON_TYPE,
    NPY_TYPE,
    Answer,
    AnyOperation,
    Chunk,
    Item,
    Operation,
    SamplingRequest,
    ScoringRequest,
    Wire,
)

MAX_CHARACTERS = 100_000
Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Token = Annotated[int, Field(ge=0)]
Tokens = Annotated[list[Token], Field(max_length=MAX_CHARACTERS, fail_fast=True)]
StopText = Annotated[str, Field(min_length=1, max_length=64)]
FinishReason = Literal["stop", "length", "end_of_text"]


class Prompted(Wire):
    """What the text goes on from: `prompt`, or its token ids as `prompt_tokens`."""

    prompt: Text | None = Field(None, description="text; it and what follows share the model's context")
    prompt_tokens: Tokens | None = Field(None, description="instead of `prompt`")


class TransformerGenerateRequest(SamplingRequest, Prompted):
    """`n` texts after a prompt, each token drawn from softmax(logits / temperature).

    `temperature` 0 is the likeliest token (the lowest id among equals). `top_k` keeps the k likeliest tokens, then
    `top_p` the fewest of these that hold this share of their probability (Holtzman et al. 2020, arXiv:1904.09751).
    A text ends at the end of a document, with a token of `stop_tokens`, where it holds a string of `stop`, and after
    `max_tokens`.
    """

    data = frozenset({"prompt", "prompt_tokens"})

    max_tokens: Annotated[int, Field(ge=1)] = 64
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_k: Annotated[int, Field(ge=1)] | None = Field(None, description="omitted: all")
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    stop: list[StopText] = Field([], max_length=16, fail_fast=True)
    stop_tokens: list[Token] = Field([], max_length=64, fail_fast=True)
    logprobs: Annotated[int, Field(ge=0, le=20)] = Field(
        0, description="how many of the likeliest tokens to list beside each token drawn"
    )


class TokenLogProb(Wire):
    """A token and its log-probability under the model, in nats."""

    token: int
    log_prob_nats: float


class Usage(Wire):
    """Counts of tokens: read, and drawn."""

    prompt_tokens: int
    completion_tokens: int


class TransformerText(Item):
    """`text` goes on from the prompt, up to the first stop string.

    `tokens` are all that were drawn, those of the ending too; `log_probs_nats` are theirs under the model itself,
    at temperature 1 and without top_k and top_p. `finish_reason` "stop" is a stop string or token, "length"
    `max_tokens`. `alternatives` are the `logprobs` likeliest tokens in each one's place.
    """

    text: str
    tokens: list[int]
    log_probs_nats: list[float]
    finish_reason: FinishReason
    usage: Usage
    alternatives: list[list[TokenLogProb]] | None = None


class TransformerPiece(Chunk):
    """One token as it is drawn, and the `text` that is certain by now: whole characters, and nothing of a stop string.

    `text` may be empty; an item's pieces together are its text. The last one says the reason.
    """

    text: str
    token: int
    log_prob_nats: float
    finish_reason: FinishReason | None = None


class TransformerScoreRequest(ScoringRequest, Prompted):
    """`texts`, or their token ids as `tokens`: each after the prompt, or, without one, as the beginning of a document.

    Nothing is drawn: seeds are only echoed.
    """

    data = frozenset({"prompt", "prompt_tokens", "texts", "tokens"})

    texts: Items[Text] | None = None
    tokens: Items[Tokens] | None = Field(None, description="instead of `texts`")


class TransformerScore(Item):
    """log p(text) = sum over its tokens of log p(token | prompt and tokens before).

    `log_probs_nats` are the very numbers that `generate` reports where it draws these tokens. `perplexity` is the
    exponential of their negative mean; `bits_per_byte` is None for tokens without bytes.
    """

    tokens: list[int]
    log_probs_nats: list[float]
    log_prob_nats: float
    perplexity: float
    bits_per_byte: float | None


class TransformerTokenizeRequest(ScoringRequest):
    """Text to token ids. Nothing is drawn: seeds are only echoed."""

    data = frozenset({"texts"})

    texts: Items[Text]


class TransformerTokens(Item):
    """The token ids of one text."""

    tokens: list[int]


class TransformerDetokenizeRequest(ScoringRequest):
    """Token ids to text. Nothing is drawn: seeds are only echoed."""

    data = frozenset({"tokens"})

    tokens: Items[Tokens]


class TransformerDetokenized(Item):
    """The text of some token ids; bytes that are not UTF-8 are U+FFFD."""

    text: str


GENERATE = Operation(
    family="transformer",
    name="generate",
    scope="generate",
    summary="Go on from a prompt, token by token",
    request=TransformerGenerateRequest,
    answer=Answer[TransformerText],
    chunk=TransformerPiece,
    example={"prompt": "The people of the United States", "max_tokens": 24, "temperature": 0.8, "seed": 7},
    main=("tokens",),
    answers=(JSON_TYPE,),
)
SCORE: Operation[TransformerScoreRequest, Answer[TransformerScore], Chunk] = Operation(
    family="transformer",
    name="score",
    scope="score",
    summary="Log-probability of text, per token and in all, with perplexity and bits per byte",
    request=TransformerScoreRequest,
    answer=Answer[TransformerScore],
    chunk=None,
    example={"texts": ["The people of the United States", "States people the of United The"]},
    main=("log_prob_nats",),
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
TOKENIZE: Operation[TransformerTokenizeRequest, Answer[TransformerTokens], Chunk] = Operation(
    family="transformer",
    name="tokenize",
    scope="score",
    summary="Text to token ids",
    request=TransformerTokenizeRequest,
    answer=Answer[TransformerTokens],
    chunk=None,
    example={"texts": ["It is a truth universally acknowledged"]},
    main=("tokens",),
    answers=(JSON_TYPE,),
)
DETOKENIZE: Operation[TransformerDetokenizeRequest, Answer[TransformerDetokenized], Chunk] = Operation(
    family="transformer",
    name="detokenize",
    scope="score",
    summary="Token ids to text",
    request=TransformerDetokenizeRequest,
    answer=Answer[TransformerDetokenized],
    chunk=None,
    example={"tokens": [[52, 72, 69], [79, 70]]},
    main=("text",),
    answers=(JSON_TYPE,),
)
OPERATIONS: tuple[AnyOperation, ...] = (GENERATE, SCORE, TOKENIZE, DETOKENIZE)
