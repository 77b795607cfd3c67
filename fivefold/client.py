"""Client and AsyncClient: call(operation, request), stream, and one named method per operation."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self
from urllib.parse import quote

from fivefold.admin import Admin, AsyncAdmin
from fivefold.calls import Call, Reply, Timeouts
from fivefold.cards import ModelCard, ModelList
from fivefold.errors import InvalidInput, NotReady, TransportError
from fivefold.handles import JOBS_PATH, AsyncJobHandle, JobHandle, job_id_of
from fivefold.jobs import JobDocument, JobPage
from fivefold.methods import Method, Methods
from fivefold.operation import (
    EVENT_STREAM_TYPE,
    JSON_TYPE,
    AnswerT,
    AnyOperation,
    ChunkT,
    Operation,
    Request,
    RequestT,
)
from fivefold.streaming import AnswerReader, AsyncStream, Stream, read, read_async
from fivefold.transport import AsyncTransport, SyncTransport

BASE_URL, MODELS_PATH = "http://127.0.0.1:8000", "/v1/models"
API_KEY_VARIABLE, API_KEY = "FIVEFOLD_API_KEY", re.compile(r"[!-~]+")


class _Calls:
    """What the two clients share: how a request becomes a call. `timeout` alone is the total in seconds.

    `api_key` is what FIVEFOLD_API_KEY holds where it is not given. Raises InvalidInput for what cannot be a key.
    """

    def __init__(self, base_url: str, api_key: str | None, timeout: Timeouts | float, max_retries: int) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url {base_url!r} has no scheme: write it as {BASE_URL}")
        self._headers = _key_header(api_key if api_key is not None else os.environ.get(API_KEY_VARIABLE, ""))
        self._max_retries = max_retries
        self._timeouts = timeout if isinstance(timeout, Timeouts) else Timeouts(read_s=timeout, total_s=timeout)

    def _post(
        self, operation: AnyOperation, request: Request, accept: str = JSON_TYPE, *, detached: bool = False
    ) -> Call:
        body = request.model_dump_json(by_alias=True, exclude_unset=True).encode()
        prefer = {"prefer": "respond-async"} if detached else {}
        return Call("POST", operation.path, accept, body, self._max_retries, prefer)

    def _get(self, path: str) -> Call:
        return Call("GET", path, max_retries=self._max_retries)

    def _get_jobs(self, cursor: str) -> Call:
        return self._get(f"{JOBS_PATH}?cursor={quote(cursor, safe='')}" if cursor else JOBS_PATH)

    def _operation_at(self, path: str) -> AnyOperation:
        """Raises InvalidInput for one that no method of this client is named after."""
        methods = (getattr(type(self), name, None) for name in dir(type(self)))
        for method in methods:
            if isinstance(method, Method) and method.operation.path == path:
                return method.operation
        raise InvalidInput(f"the job's operation {path} is not known here: give it as `operation`")


def _key_header(key: str) -> dict[str, str]:
    # Judged before it is sent: the transport's errors would quote what cannot be a header.
    if key and not API_KEY.fullmatch(key):
        raise InvalidInput(f"the API key has white space or characters beyond ASCII: see {API_KEY_VARIABLE} or api_key")
    return {"x-api-key": key} if key else {}


class Client(Methods, _Calls):
    """Blocks until the answer is there. Every method raises a class of `fivefold.errors`."""

    def __init__(
        self,
        base_url: str = BASE_URL,
        *,
        api_key: str | None = None,
        timeout: Timeouts | float = 600.0,
        max_retries: int = 2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(base_url, api_key, timeout, max_retries)
        self._transport = SyncTransport(base_url, self._headers, self._timeouts, sleep)
        self.admin = Admin(self._transport)

    def call(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> AnswerT:
        """The answer of any operation: what a named method does, for a family that has none."""
        return self._transport.ask(self._post(operation, request), operation.answer)

    def stream(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> Stream[AnswerT, ChunkT]:
        """The steps of an answer as they happen, and then the answer."""
        call = self._post(operation, request, EVENT_STREAM_TYPE)
        reader = AnswerReader(operation, call.id)
        return Stream(read(self._transport.stream(call), reader), reader)

    def submit(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> JobHandle[AnswerT, ChunkT]:
        """A job that goes on by itself. Raises InvalidInput for an operation that answers at once."""
        reply = self._transport.send(call := self._post(operation, request, detached=True))
        return JobHandle(job_id_of(reply, call), operation, self._max_retries, self._transport)

    def job(self, job_id: str, operation: AnyOperation | None = None) -> JobHandle[Any, Any]:
        """The job with this id, whoever submitted it. Raises NotFound."""
        found = self._transport.ask(self._get(f"{JOBS_PATH}/{quote(job_id, safe='@')}"), JobDocument)
        return JobHandle(job_id, operation or self._operation_at(found.operation), self._max_retries, self._transport)

    def jobs(self) -> Iterator[JobDocument]:
        """Every job that is not forgotten, newest first, without its result."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._transport.ask(self._get_jobs(cursor), JobPage)
            yield from page.jobs
            cursor = page.next

    def raw(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT, accept: str) -> Reply:
        """The bytes in one of `operation.answers`, such as an exact array; what is known of them is in the headers."""
        return self._transport.send(self._post(operation, request, accept))

    def models(self) -> list[ModelCard]:
        """Every model that is served now."""
        return self._transport.ask(self._get(MODELS_PATH), ModelList).models

    def model(self, name: str) -> ModelCard:
        """One model, by "name" or "name@version". Raises UnknownModel."""
        return self._transport.ask(self._get(f"{MODELS_PATH}/{quote(name, safe='@')}"), ModelCard)

    def ready(self) -> bool:
        """Whether every required model is served now; False too where nobody answers. Asks once."""
        try:
            self._transport.send(Call("GET", "/healthz/ready", max_retries=0))
        except (NotReady, TransportError):
            return False
        return True

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(Methods, _Calls):
    """The same, awaited."""

    def __init__(
        self,
        base_url: str = BASE_URL,
        *,
        api_key: str | None = None,
        timeout: Timeouts | float = 600.0,
        max_retries: int = 2,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(base_url, api_key, timeout, max_retries)
        self._transport = AsyncTransport(base_url, self._headers, self._timeouts, sleep)
        self.admin = AsyncAdmin(self._transport)

    async def call(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> AnswerT:
        return await self._transport.ask(self._post(operation, request), operation.answer)

    def stream(
        self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT
    ) -> AsyncStream[AnswerT, ChunkT]:
        call = self._post(operation, request, EVENT_STREAM_TYPE)
        reader = AnswerReader(operation, call.id)
        return AsyncStream(read_async(self._transport.stream(call), reader), reader)

    async def submit(
        self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT
    ) -> AsyncJobHandle[AnswerT, ChunkT]:
        reply = await self._transport.send(call := self._post(operation, request, detached=True))
        return AsyncJobHandle(job_id_of(reply, call), operation, self._max_retries, self._transport)

    async def job(self, job_id: str, operation: AnyOperation | None = None) -> AsyncJobHandle[Any, Any]:
        found = await self._transport.ask(self._get(f"{JOBS_PATH}/{quote(job_id, safe='@')}"), JobDocument)
        return AsyncJobHandle(
            job_id, operation or self._operation_at(found.operation), self._max_retries, self._transport
        )

    async def jobs(self) -> AsyncIterator[JobDocument]:
        cursor: str | None = ""
        while cursor is not None:
            page = await self._transport.ask(self._get_jobs(cursor), JobPage)
            for job in page.jobs:
                yield job
            cursor = page.next

    async def raw(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT, accept: str) -> Reply:
        return await self._transport.send(self._post(operation, request, accept))

    async def models(self) -> list[ModelCard]:
        return (await self._transport.ask(self._get(MODELS_PATH), ModelList)).models

    async def model(self, name: str) -> ModelCard:
        return await self._transport.ask(self._get(f"{MODELS_PATH}/{quote(name, safe='@')}"), ModelCard)

    async def ready(self) -> bool:
        try:
            await self._transport.send(Call("GET", "/healthz/ready", max_retries=0))
        except (NotReady, TransportError):
            return False
        return True

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
