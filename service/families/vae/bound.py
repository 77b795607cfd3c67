"""The session of the bound: every step is one draw from the posterior of each of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service import rng
from service.arrays import Array, Arrays
from service.families.session import ResidentRows, block_seeds, gather, parameters_of
from service.families.vae.parameters import VaeBound
from service.graph import Graph
from service.jobs import Block, Events, Integers, Range

POSTERIOR_STREAM = 0
BOUND_ROWS = 256
SERIES = ("log_likelihood", "log_weight")


@dataclass
class Draws:
    """Consecutive rows that have `done` draws: the `series` [k, samples] of all, the fields of the `first` [k, ...]."""

    range: Range
    block: Block
    series: Arrays
    first: Arrays = field(default_factory=dict)
    done: int = 0

    @property
    def parameters(self) -> VaeBound:
        return parameters_of(self.block, VaeBound)

    def __len__(self) -> int:
        return len(self.block)

    def __getitem__(self, where: slice) -> "Draws":
        job_id, start, _ = self.range
        return Draws(
            Range(job_id, start + where.start, start + where.stop),
            self.block[where],
            {name: values[where] for name, values in self.series.items()},
            {name: values[where] for name, values in self.first.items()},
            self.done,
        )

    @property
    def keeps_terms(self) -> bool:
        return self.done == 0 and self.parameters.terms

    def advance(self, outputs: Arrays, start: int) -> list[Events]:
        """Keep a draw, which stands in the outputs from `start` on. Returns the rows' end, where it is the last."""
        where = slice(start, start + len(self))
        for name, values in self.series.items():
            values[:, self.done] = outputs[name][where]
        if self.done == 0:
            kept = ("kl", "terms") if self.keeps_terms else ("kl",)
            self.first = {name: outputs[name][where].copy() for name in kept}
        self.done += 1
        if self.done < self.parameters.samples:
            return []
        steps = np.full(len(self), self.done)
        return [Events(self.range.job_id, "done", self.block.rows, steps, {**self.series, **self.first})]


class Bound:
    """Rows with different numbers of draws, each at a draw of its own: a row of 512 draws stalls none of one.

    Draw i of a row has the noise of step i. A row answers `log_likelihood` [samples], `log_weight` [samples] and `kl`
    [] in nats, and the `terms` of its first draw where they are asked for.
    """

    capacity = BOUND_ROWS

    def __init__(self, elbo: Graph, latent_size: int) -> None:
        self._elbo, self._latent_size = elbo, latent_size
        self._resident = ResidentRows[Draws]()

    def need(self, block: Block) -> int:
        return 1

    def admit(self, rows: Range, block: Block) -> None:
        part = block[rows.start : rows.stop]
        shape = (len(part), parameters_of(part, VaeBound).samples)
        self._resident.add(rows, Draws(rows, part, {name: np.empty(shape, np.float32) for name in SERIES}))

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        return rows

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        parts = [part for one in rows for part in self._resident.of(one)]
        outputs, start = self._draw(parts), 0
        events: list[Events] = []
        for part in parts:
            ended = part.advance(outputs, start)
            start += len(part)
            if ended:
                self._resident.remove(part.range)
            events += ended
        return events

    def drop(self, rows: Sequence[Range]) -> None:
        for one in rows:
            self._resident.remove(one)

    def close(self) -> None:
        self._resident.clear()

    def _draw(self, parts: Sequence[Draws]) -> Arrays:
        """The next draw of every row, [n, ...]; the terms only where a row keeps them."""
        blocks = [part.block for part in parts]
        draws = np.repeat([part.done for part in parts], [len(part) for part in parts])
        noise = posterior_noise(block_seeds(blocks), draws, self._latent_size)
        outputs = self._elbo(x=gather(blocks, "x"), noise=noise)
        kept = ("terms",) if any(part.keeps_terms for part in parts) else ()
        return {name: outputs[name].numpy() for name in (*SERIES, "kl", *kept)}


def posterior_noise(seeds: Integers, draw: int | Integers, latent_size: int) -> Array:
    """The standard normal noise [k, D] of a draw of z, one for all seeds [k] or one for each."""
    return rng.normal(seeds, POSTERIOR_STREAM, draw, (latent_size,))
