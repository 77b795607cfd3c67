"""The comparison as Markdown: one table of the five families, then one per topic."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from training.comparison.denoising import Denoised
from training.comparison.entry import BATCHES, Entry
from training.comparison.prose import DENOISING, INTRODUCTION, LIKELIHOOD, SAMPLES, SPEED, STRANGERS
from training.comparison.samples import Quality
from training.comparison.subject import Family, Likelihood

NOTHING = "-"
Row = Sequence[object]


@dataclass(frozen=True)
class Comparison:
    """What was measured, of which models, and how to do it again.

    `floor` is the quality of test images, `codes` are the lengths of general compressors by name.
    """

    command: str
    machine: str
    classifier: str
    families: Sequence[Family]
    entries: Sequence[Entry]
    floor: Sequence[Quality]
    codes: Sequence[tuple[str, Likelihood]]
    denoised: Sequence[Denoised]

    def markdown(self) -> str:
        """The whole document. What stands before its first topic stands alone, too."""
        topics = {
            "Samples": (SAMPLES.format(classifier=self.classifier), self._samples()),
            "Likelihood": (LIKELIHOOD, self._likelihood()),
            "Strangers": (STRANGERS, self._strangers()),
            "Denoising": (DENOISING, self._denoising()),
            "Speed": (SPEED.format(machine=self.machine), self._speed()),
        }
        introduction = paragraph(INTRODUCTION.format(command=self.command, machine=self.machine))
        sections = [f"## {name}\n\n{paragraph(prose)}\n\n{body}" for name, (prose, body) in topics.items()]
        return "\n\n".join(("# The five families compared", self._families(), introduction, *sections)) + "\n"

    def _families(self) -> str:
        floor = "".join(f" ({quality.how}: {quality.fd_fmnist})" for quality in self.floor)
        head = (
            "family",
            f"FD-fmnist of samples{floor}",
            "likelihood",
            "latents of given data",
            f"ms per item, batch {BATCHES[-1]}",
            "answers",
            "cannot",
        )
        return table(head, map(self._family, self.families))

    def _family(self, family: Family) -> Row:
        own = [entry for entry in self.entries if entry.family == family]
        quality = [f"{figure.fd_fmnist} ({entry.model}, {figure.how})" for entry in own for figure in entry.quality]
        likelihood = [
            f"{first.estimate} {first.unit} ({entry.model})" for entry in own for first in entry.likelihood[:1]
        ]
        speed = [
            f"{by_batch[BATCHES[-1]].best_ms:.3g} ({entry.model}, {timed.operation})"
            for entry in own
            for timed, by_batch in entry.speed[:1]
        ]
        return (
            f"**{family.name}**" if own else f"**{family.name}** (no model in the store)",
            "; ".join(quality) or NOTHING,
            "; ".join((family.likelihood, *likelihood)),
            family.posterior,
            "; ".join(speed) or NOTHING,
            family.answers,
            family.cannot,
        )

    def _samples(self) -> str:
        figures = [(entry.model, figure) for entry in self.entries for figure in entry.quality]
        rows = [
            (model, figure.how, figure.count, figure.fd_fmnist, figure.accuracy or NOTHING)
            for model, figure in (*figures, *((NOTHING, floor) for floor in self.floor))
        ]
        return table(("model", "how", "images", "FD-fmnist", "of the class asked for"), rows)

    def _likelihood(self) -> str:
        figures = [(entry.model, figure) for entry in self.entries for figure in entry.likelihood]
        rows = [
            (model, figure.measure, figure.kind, figure.estimate, figure.unit, figure.over)
            for model, figure in (*figures, *self.codes)
        ]
        return table(("model", "measure", "kind", "figure", "unit", "measured on"), rows)

    def _strangers(self) -> str:
        scored = [(entry.model, score, found) for entry in self.entries for score, found in entry.detection.items()]
        names = list(dict.fromkeys(name for _, _, found in scored for name in found))
        rows = [(model, score, *(found.get(name, NOTHING) for name in names)) for model, score, found in scored]
        return table(("model", "score", *names), rows)

    def _denoising(self) -> str:
        head = "sigma of 255", "method", "PSNR in dB", "SSIM", "images"
        return table(head, ((row.level, row.method, row.psnr_db, row.ssim, row.count) for row in self.denoised))

    def _speed(self) -> str:
        head = "model", "operation", "item", *(f"ms per item, batch {batch}" for batch in BATCHES)
        rows = [
            (entry.model, timed.operation, timed.item, *(by_batch[batch] for batch in BATCHES))
            for entry in self.entries
            for timed, by_batch in entry.speed
        ]
        return table(head, rows)


def paragraph(text: str) -> str:
    """Text in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    return "\n".join(_lines(head, rows))


def _lines(head: Row, rows: Iterable[Row]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(map(str, cells))} |"
