"""Conformal p-values: the rank of a score among held-out scores of normal data."""

from dataclasses import dataclass

import numpy as np

from fivefold.errors import InvalidInput
from service.arrays import Array
from service.jobs import Floats


@dataclass(frozen=True)
class Conformal:
    """Held-out scores [n], ascending; higher is stranger. p = (1 + #{held out >= score}) / (n + 1).

    Exchangeable data has p <= alpha with probability at most alpha, whatever the score's distribution (Shafer and Vovk
    2008, arXiv:0706.3188; as a test for outliers: Bates et al. 2021, arXiv:2104.08279).
    """

    held_out: Array

    def p_values(self, scores: Floats) -> Floats:
        """[k] in (0, 1], of scores [k]."""
        below = np.searchsorted(self.held_out, scores, side="left")
        return (1 + len(self.held_out) - below) / (len(self.held_out) + 1)

    def threshold(self, alpha: float) -> float:
        """A p-value is at most alpha exactly where score > threshold. Raises InvalidInput for an alpha below all."""
        count = len(self.held_out)
        ranks = np.arange(1, count + 1) / (count + 1)
        allowed = int(np.searchsorted(ranks, alpha, side="right"))
        if allowed == 0:
            possible = f"{count} held-out scores allow {1 / (count + 1):.2g} to 1"
            raise InvalidInput.at("alpha", f"alpha {alpha:g} given, {possible}: raise alpha")
        return float(self.held_out[count - allowed])
