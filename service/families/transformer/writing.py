"""Writing: what the texts of a block share, and what they cost."""

from dataclasses import dataclass

from model_store.manifest import TransformerParams
from service.costs import Costs
from service.jobs import Parameters


@dataclass(frozen=True)
class Writing(Parameters):
    """How texts go on from the block's `prompt`, which takes `prompt_chunks` calls to read.

    They are drawn: `max_tokens` at most, by `temperature`, the `top_k` likeliest tokens (None: all) and `top_p`, up to
    a string of `stop` or a token of `stop_tokens`. Or the block's column `forced` has them. `logprobs` is how many of
    the likeliest tokens are noted beside each token.
    """

    graphs = ("decode",)

    max_tokens: int = 64
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    logprobs: int = 0
    prompt_chunks: int = 1

    def seconds(self, rows: int, work: float, costs: Costs) -> float:
        """A chunk of a prompt is read alone; every further token shares the calls of `decode`."""
        chunks = min(work, float(rows * self.prompt_chunks))
        return chunks * costs["prefill"].seconds(1) + costs["decode"].seconds(work - chunks)


def chunks_of(prompt_tokens: int, params: TransformerParams) -> int:
    """The calls that read a prompt; the last of them gives the first token, and each further token is a call more."""
    return -(-prompt_tokens // params.chunk)
