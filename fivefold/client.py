"""Client and AsyncClient: call(operation, request), stream, and one named method per operation."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Self
from urllib.parse import quote

from fivefold.calls import Call, Reply, Timeouts
from fivefold.cards import ModelCard, ModelList
from fivefold.errors import InvalidInput, NotReady, TransportError
from fivefold.methods import Methods
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
from fivefold.parsing import parsed
from fivefold.streaming import AnswerReader, AsyncStream, Stream
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

    def _post(self, operation: AnyOperation, request: Request, accept: str = JSON_TYPE) -> Call:
        body = request.model_dump_json(by_alias=True, exclude_unset=True).encode()
        return Call("POST", operation.path, accept, body, self._max_retries)

    def _get(self, path: str) -> Call:
        return Call("GET", path, max_retries=self._max_retries)


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

    def call(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> AnswerT:
        """The answer of any operation: what a named method does, for a family that has none."""
        call = self._post(operation, request)
        return parsed(operation.answer, self._transport.send(call).content, call.id)

    def stream(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> Stream[AnswerT, ChunkT]:
        """The steps of an answer as they happen, and then the answer."""
        call = self._post(operation, request, EVENT_STREAM_TYPE)
        return Stream(self._transport.stream(call), AnswerReader(operation, call.id))

    def raw(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT, accept: str) -> Reply:
        """The bytes in one of `operation.answers`, such as an exact array; what is known of them is in the headers."""
        return self._transport.send(self._post(operation, request, accept))

    def models(self) -> list[ModelCard]:
        """Every model that is served now."""
        call = self._get(MODELS_PATH)
        return parsed(ModelList, self._transport.send(call).content, call.id).models

    def model(self, name: str) -> ModelCard:
        """One model, by "name" or "name@version". Raises UnknownModel."""
        call = self._get(f"{MODELS_PATH}/{quote(name, safe='@')}")
        return parsed(ModelCard, self._transport.send(call).content, call.id)

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

    async def call(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT) -> AnswerT:
        call = self._post(operation, request)
        return parsed(operation.answer, (await self._transport.send(call)).content, call.id)

    def stream(
        self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT
    ) -> AsyncStream[AnswerT, ChunkT]:
        call = self._post(operation, request, EVENT_STREAM_TYPE)
        return AsyncStream(self._transport.stream(call), AnswerReader(operation, call.id))

    async def raw(self, operation: Operation[RequestT, AnswerT, ChunkT], request: RequestT, accept: str) -> Reply:
        return await self._transport.send(self._post(operation, request, accept))

    async def models(self) -> list[ModelCard]:
        call = self._get(MODELS_PATH)
        return parsed(ModelList, (await self._transport.send(call)).content, call.id).models

    async def model(self, name: str) -> ModelCard:
        call = self._get(f"{MODELS_PATH}/{quote(name, safe='@')}")
        return parsed(ModelCard, (await self._transport.send(call)).content, call.id)

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
