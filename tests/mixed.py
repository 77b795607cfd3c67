"""A mixed load: every operation of every shipped model over HTTP, and the receipts of the answers."""

import asyncio
from collections.abc import Callable, Sequence

from shipped import REQUESTS

from fivefold import AsyncClient
from fivefold.operation import AnyOperation, Request
from service.families.registry import FAMILIES

OPERATIONS = {
    (each.operation.family, each.operation.name): each.operation for one in FAMILIES for each in one.pipelines
}
LoadCall = tuple[AnyOperation, Request]


def load() -> list[LoadCall]:
    return [
        (OPERATIONS[model.split("-")[0], name], request)
        for model, requests in REQUESTS.items()
        for name, group in requests().items()
        for request in group
    ]


async def receipts(
    url: str,
    calls: Sequence[LoadCall],
    at_once: int,
    max_retries: int = 2,
    answered: Callable[[], None] = lambda: None,
) -> list[str]:
    """The receipt of every call, in their order; `answered` is told of each answer. Raises FivefoldError."""
    places = asyncio.Semaphore(at_once)

    async def call(client: AsyncClient, operation: AnyOperation, request: Request) -> str:
        async with places:
            answer = await client.call(operation, request)
        assert answer.items == answer.results
        answered()
        return answer.meta.receipt

    async with AsyncClient(url, max_retries=max_retries) as client:
        return await asyncio.gather(*(call(client, *each) for each in calls))
