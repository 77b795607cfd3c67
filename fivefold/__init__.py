"""The public contract and the SDK: pydantic and httpx, nothing else."""

from fivefold import errors
from fivefold.calls import Reply, Timeouts
from fivefold.client import AsyncClient, Client
from fivefold.images import Image

__all__ = ["AsyncClient", "Client", "Image", "Reply", "Timeouts", "__version__", "errors"]
__version__ = "0.1.0"
