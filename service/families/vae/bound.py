"""The session of the bound: every step is one draw from the posterior of each of its rows."""

from collections.abc import Mapping, Sequence

import numpy as np

from service import rng
from service.arrays import Array, Arrays
from service.graph import Graph
from service.jobs import Event, Row, RowId

POSTERIOR_STREAM = 0
SCALARS = ("log_likelihood", "log_weight", "kl")


class Bound:
    """Rows with different numbers of draws, each at a draw of its own: a row of 512 draws stalls none of one.

    Draw i of a row has the noise of step i. A row answers `log_likelihood` [k], `log_weight` [k] and `kl` [] in nats,
    and the `terms` of its first draw where they are asked for.
    """

    capacity = 256
    graphs = ("elbo",)

    def __init__(self, elbo: Graph, latent_size: int) -> None:
        self._elbo, self._latent_size = elbo, latent_size
        self._rows: dict[RowId, tuple[Row, list[Arrays]]] = {}

    def admit(self, rows: Sequence[tuple[RowId, Row]]) -> None:
        self._rows.update({row_id: (row, []) for row_id, row in rows})

    def ready(self) -> Sequence[RowId]:
        return list(self._rows)

    def step(self, rows: Sequence[RowId]) -> list[Event]:
        asked = [self._rows[row] for row in rows]
        x = np.stack([row.arrays["x"] for row, _ in asked])
        noise = np.stack([posterior_noise(row.seed, len(draws), self._latent_size) for row, draws in asked])
        outputs = {name: output.numpy() for name, output in self._elbo(x=x, noise=noise).items()}
        return [event for place, row in enumerate(rows) for event in self._advance(row, place, outputs)]

    def drop(self, rows: Sequence[RowId]) -> None:
        for row in rows:
            self._rows.pop(row, None)

    def close(self) -> None:
        self._rows.clear()

    def _advance(self, row_id: RowId, place: int, outputs: Mapping[str, Array]) -> list[Event]:
        row, draws = self._rows[row_id]
        kept = (*SCALARS, "terms") if row.params["terms"] else SCALARS
        draws.append({name: np.array(outputs[name][place]) for name in kept})
        if len(draws) < row.params["samples"]:
            return []
        self.drop([row_id])
        series = {name: np.stack([draw[name] for draw in draws]) for name in ("log_likelihood", "log_weight")}
        return [Event(*row_id, len(draws), "done", {**draws[0], **series})]


def posterior_noise(seed: int, draw: int, latent_size: int) -> Array:
    """The standard normal noise of a row's draw of z, [D]."""
    return rng.normal(seed, POSTERIOR_STREAM, draw, (latent_size,))
