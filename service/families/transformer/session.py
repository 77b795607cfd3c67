"""The text session: prompts read chunk by chunk, and one call a step for the next token of every other row."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, groupby

import structlog

from fivefold.errors import RowFailed, RowNotFinite
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.arrays import Arrays
from service.families.family import Sessions
from service.families.pipeline import params_of
from service.families.session import ResidentRows
from service.families.transformer.answers import Answer, ask, next_logits
from service.families.transformer.choice import choose, scores_of
from service.families.transformer.events import failed_events, token_events
from service.families.transformer.slots import Slots
from service.families.transformer.writer import Writer
from service.families.transformer.writing import Writing
from service.graph import Graph
from service.jobs import Block, Events, Failure, Range
from service.settings import Settings


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    """Sessions of a loaded transformer, by kind."""
    return {Writing: TextSession(model, graphs["prefill"], graphs["decode"], settings)}


class TextSession:
    """Rows join and leave at every token.

    A step reads at most one chunk, of the prompt that came first: no prompt stalls the others for longer, and none
    waits for later ones. The shape of the calls that a row takes part in is its own: chunks alone, on the grid from the
    text's beginning; tokens one by one, at the cache's full capacity. Hence its bits do not depend on its neighbours.
    """

    def __init__(self, model: Model, prefill: Graph, decode: Graph, settings: Settings) -> None:
        self._model, self._params = model, params_of(model, TransformerParams)
        self._prefill, self._decode = prefill, decode
        self._slots = Slots(self._params, settings.session_bytes)
        self._resident = ResidentRows[list[Writer]]()
        self._arrivals = count()

    @property
    def capacity(self) -> int:
        """Bytes of the cache."""
        return self._slots.count * self._slots.slot_bytes

    @property
    def memory_bytes(self) -> int:
        return self.capacity

    def need(self, block: Block) -> int:
        """Bytes of a slot."""
        return self._slots.slot_bytes

    def admit(self, rows: Range, block: Block) -> None:
        places = (Range(rows.job_id, place, place + 1) for place in range(rows.start, rows.stop))
        self._resident.add(rows, [Writer(place, block, next(self._arrivals), self._model) for place in places])

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        """Every text that is being written, and of those whose prompts are being read the one that came first."""
        reading = (writer for writer in self._writers(rows) if writer.reading)
        first = min(reading, key=lambda writer: writer.arrival, default=None)
        return [run for one in rows for run in self._runs(one, first)]

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        writers = self._writers(rows)
        reading = [writer for writer in writers if writer.reading]
        writing = sorted((writer for writer in writers if not writer.reading), key=self._slots.slot)
        # No position moves before all is computed: if something raises, no row has advanced.
        calls = ((self._prefill, reading, self._params.chunk), (self._decode, writing, 1))
        answers = [ask(graph, asked, tokens, self._slots) for graph, asked, tokens in calls if asked]
        return list(self._advance(answers))

    def drop(self, rows: Sequence[Range]) -> None:
        for one in rows:
            for part in self._resident.remove(one):
                for writer in part:
                    self._slots.release(writer)

    def close(self) -> None:
        self._resident.clear()

    def _writers(self, rows: Sequence[Range]) -> list[Writer]:
        return [writer for one in rows for part in self._resident.of(one) for writer in part]

    def _runs(self, rows: Range, first: Writer | None) -> Iterator[Range]:
        """The parts of the range that are ready."""
        start = rows.start
        for ready, run in groupby(not writer.reading or writer is first for writer in self._writers([rows])):
            stop = start + len(list(run))
            if ready:
                yield Range(rows.job_id, start, stop)
            start = stop

    def _advance(self, answers: Sequence[Answer]) -> Iterator[Events]:
        """The events of the tokens that the answers give; texts that end leave."""
        writers, logits = next_logits(answers)
        chosen = choose(writers, logits) if writers else {}
        for answer in answers:
            for writer, finite in zip(answer.writers, answer.finite, strict=True):
                _move(writer, finite)
        for index, writer in enumerate(writers):
            _write(writer, int(chosen["token"][index]), scores_of(chosen, index, writer.writing.logprobs))
        yield from token_events(writers, chosen)
        advanced = [writer for answer in answers for writer in answer.writers]
        yield from failed_events(advanced)
        self.drop([writer.place for writer in advanced if writer.ended])


def _move(writer: Writer, finite: bool) -> None:
    """Past its next tokens, or to its end."""
    if finite:
        writer.position += len(writer.next_tokens)
    else:
        message = f"the model gave NaN or infinity after {writer.position} tokens"
        writer.failure = Failure(RowNotFinite.code, message)


def _write(writer: Writer, token: int, scores: Arrays) -> None:
    """Where it fails, it fails alone, for others have advanced by now."""
    try:
        writer.write(token, scores)
    except Exception:
        structlog.get_logger().exception("text_failed", job_id=writer.place.job_id, row=writer.row)
        writer.failure = Failure(RowFailed.code, f"the text failed after {writer.position} tokens")
