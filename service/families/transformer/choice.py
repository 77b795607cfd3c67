"""The next tokens of the rows of a step, drawn together, with their scores."""

from collections.abc import Sequence

import numpy as np

from service import rng
from service.arrays import Array, Arrays
from service.families.transformer.sampling import Floats, Ids, Policies, likeliest, log_softmax, sample
from service.families.transformer.writer import Writer

SAMPLING_STREAM, BLOCK = 0, 64


def choose(writers: Sequence[Writer], logits: Array) -> dict[str, Array]:
    """`token` [n] of each text after its logits [n, V], and `log_prob` [n], its log-probability in nats.

    Where texts ask for the likeliest tokens: `best_tokens` and `best_log_probs` [n, the most that one asks for].
    """
    tokens = sample(logits, _policies(writers), _uniforms(writers))
    for index, writer in enumerate(writers):
        if writer.forced:
            tokens[index] = writer.forced[len(writer.tokens)]
    log_probs = log_softmax(logits)
    best = _best(log_probs, np.array([writer.writing.logprobs for writer in writers]))
    return {"token": tokens, "log_prob": log_probs[np.arange(len(tokens)), tokens], **best}


def scores_of(chosen: Arrays, rows: int | list[int], count: int) -> dict[str, Array]:
    """The scores of these rows, which ask for `count` of the likeliest tokens each."""
    scores = {"log_prob": chosen["log_prob"][rows]}
    if count:
        scores |= {name: chosen[name][rows, :count] for name in ("best_tokens", "best_log_probs")}
    return scores


def _policies(writers: Sequence[Writer]) -> Policies:
    """Forced tokens are not drawn: temperature 0 asks the least."""
    temperatures = [writer.writing.temperature if writer.draws else 0.0 for writer in writers]
    top_k = [writer.writing.top_k or 0 for writer in writers]
    return Policies(np.array(temperatures), np.array(top_k), np.array([writer.writing.top_p for writer in writers]))


def _uniforms(writers: Sequence[Writer]) -> Floats:
    """Each drawing text's next number, [n], of a block: opening a generator costs more than drawing from it."""
    drawing = [writer for writer in writers if writer.draws]
    if begun := [writer for writer in drawing if len(writer.tokens) % BLOCK == 0]:
        seeds, blocks = np.array([[writer.seed, len(writer.tokens) // BLOCK] for writer in begun]).T
        for writer, numbers in zip(begun, rng.uniform(seeds, SAMPLING_STREAM, blocks, (BLOCK,)), strict=True):
            writer.uniforms = numbers
    return np.array([writer.uniforms[len(writer.tokens) % BLOCK] if writer.draws else 0.0 for writer in writers])


def _best(log_probs: Floats, counts: Ids) -> dict[str, Array]:
    """The likeliest tokens, [n, the largest of counts], of the rows whose counts [n] are not 0; nothing without any."""
    if not (asking := np.flatnonzero(counts)).size:
        return {}
    ids = np.zeros((len(counts), min(counts.max(), log_probs.shape[1])), np.int64)
    ids[asking] = likeliest(log_probs[asking], ids.shape[1])
    return {"best_tokens": ids, "best_log_probs": np.take_along_axis(log_probs, ids, axis=1)}
