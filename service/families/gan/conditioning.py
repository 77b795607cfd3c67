"""What samples and frames share: the class, given or drawn, and the truncation."""

from collections.abc import Mapping
from typing import Any

from fivefold.gan import Conditioned
from model_store.manifest import GanParams
from service import rng
from service.families.inputs import class_index

CLASS_STREAM = 1


def conditioning(request: Conditioned, seed: int, params: GanParams) -> Mapping[str, Any]:
    """The row parameters label and truncation. Raises InvalidInput for an unknown class."""
    if request.class_name is None:
        label = int(rng.uniform(seed, CLASS_STREAM, 0, (1,))[0] * len(params.classes))
    else:
        label = class_index(request.class_name, params.classes)
    return {"label": label, "truncation": request.truncation}
