"""A TCP proxy on loopback that lies: between the service and its queue's server."""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from queue_server import free_port

Mode = Literal["pass", "delay", "cut", "half-open", "reset", "drip"]
MODES: tuple[Mode, ...] = ("delay", "cut", "half-open", "reset", "drip")
DELAY_SECONDS, DRIP_SECONDS = 1.0, 0.05
AT_ONCE = struct.pack("ii", 1, 0)  # closing resets the connection


class Proxy:
    """`mode` holds for what happens from now on.

    delay: every reply comes a second late. cut: no connection lives. half-open: nothing arrives, and nobody says so.
    reset: a connection ends in the middle of its next reply. drip: replies come byte by byte, 20 a second.
    """

    def __init__(self, target_port: int) -> None:
        self.port, self.mode, self._target = free_port(), "pass", target_port
        self._loop = asyncio.new_event_loop()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def set(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "cut":
            self._loop.call_soon_threadsafe(self._abort_all)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self._started.set()
        await self._over.wait()
        server.close()
        while self._open:
            self._abort_all()
            await asyncio.wait(self._open, timeout=0.1)

    def _abort_all(self) -> None:
        for writer in self._open.values():
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        with suppress(OSError):
            if self.mode != "cut":
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer, reply=True))
        writer.transport.abort()
        del self._open[task]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool = False) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if self.mode == "half-open":  # nobody reads here any more
                    await self._over.wait()
                await (self._reply(writer, piece) if reply else self._send(writer, piece))
        writer.transport.abort()

    async def _reply(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        if self.mode == "delay":
            await asyncio.sleep(DELAY_SECONDS)
        elif self.mode == "drip":
            for byte in piece:
                await self._send(writer, bytes([byte]))
                await asyncio.sleep(DRIP_SECONDS if self.mode == "drip" else 0.0)
            return
        elif self.mode == "reset":
            await self._send(writer, piece[: len(piece) // 2])
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            writer.transport.abort()
            return
        await self._send(writer, piece)

    async def _send(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        writer.write(piece)
        await writer.drain()
