"""All figures of one model, in the order in which they are measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from training.comparison.estimate import Estimate, Floats, auroc
from training.comparison.samples import Quality, judge
from training.comparison.sets import Sets
from training.comparison.speed import Speed, measure
from training.comparison.subject import Family, Likelihood, Subject, Timed
from training.evaluate import Scorer

BATCHES = (1, 32)


@dataclass(frozen=True)
class Entry:
    """`detection` holds AUROC by score and by strangers, `speed` by operation and by batch size."""

    model: str
    family: Family
    quality: Sequence[Quality]
    likelihood: Sequence[Likelihood]
    detection: Mapping[str, Mapping[str, Estimate]]
    speed: Sequence[tuple[Timed, Mapping[int, Speed]]]


def evaluate(subject: Subject, sets: Sets, scorer: Scorer, seed: int, say: Callable[[str], None]) -> Entry:
    """Measure one model; `say` is told what is being measured."""
    name = str(subject.model.ref)
    say(f"{name}: samples")
    quality = [judge(samples, scorer) for samples in subject.samples(sets.count, seed)]
    say(f"{name}: likelihood")
    likelihood = subject.likelihood(sets, seed)
    say(f"{name}: detection")
    detection = _detection(subject.scores(sets, seed))
    say(f"{name}: speed")
    speed = [(timed, {batch: measure(subject, timed, batch) for batch in BATCHES}) for timed in subject.timed]
    return Entry(name, subject.family, quality, likelihood, detection, speed)


def _detection(scores: Mapping[str, Mapping[str, Floats]]) -> dict[str, dict[str, Estimate]]:
    return {
        score: {name: auroc(parts["test"], part) for name, part in parts.items() if name != "test"}
        for score, parts in scores.items()
    }
