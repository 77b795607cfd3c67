"""The recorded requests: every operation of every shipped model, in a fixed order, each with a name of its own."""

from functools import cache

from tests.answers.diffusion_requests import diffusion_requests
from tests.answers.flow_requests import flow_requests
from tests.answers.gan_requests import gan_requests
from tests.answers.transformer_requests import transformer_requests
from tests.answers.vae_requests import vae_requests
from tests.answers.wire import HttpRequest

ROWS_PER_JOB = 256


@cache
def requests() -> tuple[HttpRequest, ...]:
    """All of them. Raises ValueError where two have one name."""
    groups = (flow_requests, vae_requests, gan_requests, diffusion_requests, transformer_requests)
    found = tuple(request for group in groups for request in group())
    if len({request.name for request in found}) < len(found):
        names = [request.name for request in found]
        raise ValueError(f"names given twice: {sorted({name for name in names if names.count(name) > 1})}")
    return found


def requests_between_machines() -> tuple[HttpRequest, ...]:
    """Those that differ between queues: the first of each operation, what streams, and what is cut into jobs."""
    first = {request.operation: request for request in reversed(requests())}
    return tuple(
        request
        for request in requests()
        if request is first[request.operation] or request.streams or request.items > ROWS_PER_JOB
    )


MODELS = sorted({request.model for request in requests()})
