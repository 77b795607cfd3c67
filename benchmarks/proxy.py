"""A proxy that counts round trips: how often a connection's client speaks after its server did."""

import asyncio
from asyncio import StreamReader, StreamWriter, Task
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any


class Proxy:
    """`trips` and bytes of all its connections so far; answers that nobody asked for are no trips."""

    def __init__(self, port: int) -> None:
        self.trips = self.bytes_both_ways = 0
        self.url = ""
        self._port = port
        self._serving: set[Task[Any]] = set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection, until either side ends it."""
        if (own := asyncio.current_task()) is not None:
            self._serving.add(own)
        inward, outward = await asyncio.open_connection("127.0.0.1", self._port)
        asked = False

        async def ask() -> None:
            nonlocal asked
            while data := await reader.read(2**20):
                self.trips += not asked
                asked = True
                self._pass_on(data, outward)

        async def answer() -> None:
            nonlocal asked
            while data := await inward.read(2**20):
                asked = False
                self._pass_on(data, writer)

        directions = [asyncio.ensure_future(ask()), asyncio.ensure_future(answer())]
        with suppress(asyncio.CancelledError):
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        for end in (outward, writer):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def stop(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _pass_on(self, data: bytes, to: StreamWriter) -> None:
        self.bytes_both_ways += len(data)
        to.write(data)


@asynccontextmanager
async def counting(port: int) -> AsyncIterator[Proxy]:
    """A proxy on a port of its own before the server on `port`."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
