"""The public contract and the SDK: pydantic and httpx, nothing else."""

from fivefold import errors
from fivefold.calls import Reply, Timeouts
from fivefold.client import AsyncClient, Client
from fivefold.handles import AsyncJobHandle, JobHandle
from fivefold.images import Image

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "Image",
    "JobHandle",
    "Reply",
    "Timeouts",
    "__version__",
    "errors",
]
__version__ = "0.1.0"
