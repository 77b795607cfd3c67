"""Text in: prompts and texts as token ids that the model has, within its context."""

from collections.abc import Iterable, Sequence

from fivefold.errors import Invalid, InvalidInput
from fivefold.transformer import Prompted
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.families.pipeline import params_of

MAX_REQUEST_CHARACTERS = 2**20


def prompt_of(request: Prompted, model: Model) -> list[int] | None:
    """The prompt's tokens, or None where there is none. Raises InvalidInput where it is empty or given twice."""
    if request.prompt is not None and request.prompt_tokens is not None:
        raise InvalidInput("prompt and prompt_tokens both given: send one of them")
    if request.prompt is not None:
        return _named("prompt", model.tokenizer.encode(request.prompt), model)
    return None if request.prompt_tokens is None else _named("prompt_tokens", request.prompt_tokens, model)


def check_vocabulary(tokens: Sequence[int], model: Model) -> list[int]:
    """The tokens. Raises InvalidInput where one is not in the model's vocabulary."""
    known = params_of(model, TransformerParams).vocabulary_size
    if (highest := max(tokens, default=0)) >= known:
        raise InvalidInput(f"token id {highest} given, the vocabulary has the ids 0 to {known - 1}: use `tokenize`")
    return list(tokens)


def require_nonempty(tokens: Sequence[int], model: Model) -> list[int]:
    """The tokens. Raises InvalidInput where there is none, or one is not in the model's vocabulary."""
    if not len(tokens):
        raise InvalidInput("0 tokens given, 1 or more expected: send some text")
    return check_vocabulary(tokens, model)


def check_context(asked: int, params: TransformerParams, way_out: str) -> None:
    """Raises InvalidInput where a text of `asked` tokens, prompt included, is longer than the context."""
    if asked > params.capacity:
        raise InvalidInput(f"{asked} tokens asked, the context is {params.capacity}: {way_out}")


def check_size(texts: Iterable[object]) -> None:
    """Raises InvalidInput for more text than can be made tokens of while a client waits for a refusal."""
    if (characters := sum(len(text) for text in texts if isinstance(text, str))) > MAX_REQUEST_CHARACTERS:
        raise InvalidInput.at(
            "texts", f"{characters} characters given, the limit is {MAX_REQUEST_CHARACTERS}: send several requests"
        )


def _named(place: str, tokens: Sequence[int], model: Model) -> list[int]:
    try:
        return require_nonempty(tokens, model)
    except InvalidInput as error:
        raise InvalidInput(error.message, invalid=[Invalid(place=place, message=error.message)]) from error
