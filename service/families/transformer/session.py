"""The text session: prompts read chunk by chunk, and one call a step for the next token of every other row."""

from collections.abc import Mapping, Sequence

import numpy as np
import structlog

from fivefold.errors import FivefoldError, RowFailed, RowNotFinite
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.arrays import Arrays, all_finite
from service.families.pipeline import params_of
from service.families.session import Session
from service.families.transformer.slots import Slots
from service.families.transformer.writer import Writer
from service.graph import Graph
from service.jobs import Event, Failure, Row, RowId


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> Mapping[str, Session]:
    """Sessions of a loaded transformer, by kind."""
    return {"text": TextSession(model, graphs["prefill"], graphs["decode"])}


class TextSession:
    """Rows join and leave at every token.

    A step reads at most one chunk, of the prompt that came first: no prompt stalls the others for longer, and none
    waits for later ones. The shape of the calls that a row takes part in is its own: chunks alone, on the grid from the
    text's beginning; tokens one by one, at the cache's full capacity. Hence its bits do not depend on its neighbours.
    """

    graphs = ("decode",)

    def __init__(self, model: Model, prefill: Graph, decode: Graph) -> None:
        self._model, self._params = model, params_of(model, TransformerParams)
        self._prefill, self._decode = prefill, decode
        self._slots = Slots(self._params)
        self._rows: dict[RowId, Writer] = {}

    @property
    def capacity(self) -> int:
        return self._slots.count

    def admit(self, rows: Sequence[tuple[RowId, Row]]) -> None:
        self._rows.update({row_id: Writer(row_id, row, self._model) for row_id, row in rows})

    def ready(self) -> Sequence[RowId]:
        return list(self._rows)

    def step(self, rows: Sequence[RowId]) -> list[Event]:
        named = set(rows)
        writers = [writer for row, writer in self._rows.items() if row in named]  # in the order they came
        reading = [writer for writer in writers if writer.reading][:1]
        writing = [writer for writer in writers if not writer.reading]
        writing.sort(key=lambda writer: self._slots.slot(writer.id))
        # Both graphs are asked before any row moves: if one raises, no row has advanced.
        answers = [*self._ask(self._prefill, reading, self._params.chunk), *self._ask(self._decode, writing, 1)]
        return [event for writer, answer in answers for event in self._advance(writer, answer)]

    def drop(self, rows: Sequence[RowId]) -> None:
        for row in rows:
            self._rows.pop(row, None)
            self._slots.release(row)

    def close(self) -> None:
        self.drop(self.ready())

    def _ask(self, graph: Graph, writers: Sequence[Writer], tokens: int) -> list[tuple[Writer, Arrays]]:
        """What the graph says after each writer's next tokens, padded to `tokens`: what follows changes nothing."""
        if not writers:
            return []
        input_ids = np.full((len(writers), tokens), self._params.end_of_text)
        for ids, writer in zip(input_ids, writers, strict=True):
            ids[: len(writer.next_tokens)] = writer.next_tokens
        position = np.array([writer.position for writer in writers])
        outputs = graph(input_ids=input_ids, position=position, **self._slots.past([writer.id for writer in writers]))
        arrays = {name: output.numpy() for name, output in outputs.items()}
        return [(writer, {name: array[row] for name, array in arrays.items()}) for row, writer in enumerate(writers)]

    def _advance(self, writer: Writer, answer: Arrays) -> list[Event]:
        """The row's events; where it fails, it fails alone, for others have advanced by now."""
        try:
            events = self._write(writer, answer)
        except Exception as error:
            structlog.get_logger().exception("text_failed", job_id=writer.id[0], row=writer.id[1])
            events = [Event(*writer.id, writer.written, "failed", error=_failure(error, writer))]
        if any(event.terminal for event in events):
            self.drop([writer.id])
        return events

    def _write(self, writer: Writer, answer: Arrays) -> list[Event]:
        if not all_finite(answer):  # nothing of it may enter the slot: the next row there would read it
            raise RowNotFinite(f"the model gave NaN or infinity after {writer.position} tokens")
        tokens = len(writer.next_tokens)
        self._slots.write(writer.id, writer.position, tokens, answer)
        return writer.advance(answer["logits"][:tokens])


def _failure(error: Exception, writer: Writer) -> Failure:
    if isinstance(error, FivefoldError):
        return Failure(error.code, error.message)
    return Failure(RowFailed.code, f"the text failed after {writer.position} tokens")
