"""What samples and frames share: the class, given or drawn."""

import numpy as np

from fivefold.gan import Conditioned
from model_store.manifest import GanParams
from service import rng
from service.families.inputs import class_index
from service.jobs import Integers

CLASS_STREAM = 1


def labels_of(request: Conditioned, seeds: Integers, params: GanParams) -> Integers:
    """int64 [k]: the label of the class that is given, or one that each seed draws. Raises InvalidInput."""
    if request.class_name is None:
        return (rng.uniform(seeds, CLASS_STREAM, 0, ()) * len(params.classes)).astype(np.int64)
    return np.full(len(seeds), class_index(request.class_name, params.classes))


def class_names(labels: Integers, params: GanParams) -> list[str]:
    """The name of each label's class."""
    return [params.classes[label] for label in labels.tolist()]
