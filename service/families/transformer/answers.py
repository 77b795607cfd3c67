"""One call of a graph for some texts: it fills their slots and gives their logits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.arrays import Array, finite_rows
from service.families.transformer.slots import SIDES, Slots
from service.families.transformer.writer import Writer
from service.graph import Graph


class Answer(NamedTuple):
    """What a graph says after the next tokens of n texts: logits [n, V], and where all that it says is finite, [n]."""

    writers: Sequence[Writer]
    logits: Array
    finite: NDArray[np.bool_]


def ask(graph: Graph, writers: Sequence[Writer], tokens: int, slots: Slots) -> Answer:
    """Ask after each writer's next tokens, padded to `tokens`: what follows them changes nothing."""
    asked = [writer.next_tokens for writer in writers]
    input_ids = np.array([[*ids, *[0] * (tokens - len(ids))] for ids in asked])
    position = np.array([writer.position for writer in writers])
    outputs = graph(input_ids=input_ids, position=position, **slots.past(writers))
    arrays = {name: output.numpy() for name, output in outputs.items()}
    finite = finite_rows(arrays, len(writers))
    for row in np.flatnonzero(finite).tolist():  # what is not finite would be read by the next row in the slot
        new = {side: arrays[side][row] for side in SIDES}
        slots.write(writers[row], writers[row].position, len(asked[row]), new)
    return Answer(writers, arrays["logits"][np.arange(len(asked)), [len(ids) - 1 for ids in asked]], finite)


def next_logits(answers: Sequence[Answer]) -> tuple[list[Writer], Array]:
    """The texts that get a token now, by job and place, and the logits [n, V] that it is chosen from."""
    rows = [row for answer in answers for row in zip(answer.writers, answer.logits, answer.finite, strict=True)]
    told = sorted(((writer, logits) for writer, logits, finite in rows if finite and writer.writes_next), key=_place)
    return [writer for writer, _ in told], np.array([logits for _, logits in told])


def _place(told: tuple[Writer, Array]) -> tuple[str, int, int]:
    return told[0].place
