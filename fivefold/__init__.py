"""The public contract and the SDK: pydantic and httpx, nothing else."""

from fivefold import errors
from fivefold.client import AsyncClient, Client
from fivefold.images import Image
from fivefold.transport import Reply, Timeouts

__all__ = ["AsyncClient", "Client", "Image", "Reply", "Timeouts", "__version__", "errors"]
__version__ = "0.1.0"
