"""What a step wrote, as events: those of one job's texts together."""

from collections.abc import Iterator, Sequence

import numpy as np

from service.arrays import Arrays, Column, Ragged
from service.families.transformer.choice import scores_of
from service.families.transformer.writer import FINISH_REASONS, Writer
from service.jobs import Events, failed


def token_events(written: Sequence[Writer], chosen: Arrays) -> Iterator[Events]:
    """Each text's new token, a row of `chosen` [n]; and the whole text where it ended with that token."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for index, writer in enumerate(written):
        if writer.failure is None:
            groups.setdefault((writer.place.job_id, bool(writer.reason)), []).append(index)
    for (job_id, ended), indices in groups.items():
        yield from _of_job(
            job_id, [written[index] for index in indices], _step_columns(written, chosen, indices), ended
        )


def failed_events(writers: Sequence[Writer]) -> Iterator[Events]:
    """The ends of the texts that failed."""
    for writer in writers:
        if writer.failure is not None:
            yield failed(writer.place.job_id, np.array([writer.row]), writer.failure)


def _step_columns(written: Sequence[Writer], chosen: Arrays, indices: list[int]) -> dict[str, Column]:
    scores = scores_of(chosen, indices, written[indices[0]].writing.logprobs)
    return {"token": chosen["token"][indices], **scores}


def _of_job(job_id: str, texts: Sequence[Writer], columns: dict[str, Column], ended: bool) -> Iterator[Events]:
    rows, steps = np.array([text.row for text in texts]), np.array([len(text.tokens) for text in texts])
    end: dict[str, Column] = {}
    if ended:
        end["finish"] = np.array([FINISH_REASONS.index(text.reason) for text in texts])
    yield Events(job_id, "step", rows, steps - 1, columns | end)
    if ended:
        yield Events(job_id, "done", rows, steps, _results(texts) | end)


def _results(texts: Sequence[Writer]) -> dict[str, Column]:
    results = [text.result() for text in texts]
    whole: dict[str, Column] = {name: Ragged.of([result[name] for result in results]) for name in results[0]}
    return whole | {"prompt_tokens": np.array([len(text.prompt) for text in texts])}
