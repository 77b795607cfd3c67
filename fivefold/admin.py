"""Admin and AsyncAdmin: what an operator asks of the queue and orders of the workers (scope admin)."""

from dataclasses import dataclass
from urllib.parse import quote

from fivefold.calls import Call
from fivefold.jobs import (
    AliasDocument,
    AliasRequest,
    ControlDocument,
    DeadJobDocument,
    DeadJobList,
    QueueDocument,
)
from fivefold.parsing import built
from fivefold.transport import AsyncTransport, SyncTransport

ADMIN_PATH = "/v1/admin"


def _get(path: str) -> Call:
    return Call("GET", f"{ADMIN_PATH}/{path}")


def _order(path: str, worker: str | None = None, content: bytes | None = None) -> Call:
    """An order is sent once: whether to repeat one whose answer was lost is for a person to say."""
    query = "" if worker is None else f"?worker={quote(worker, safe='')}"
    return Call("POST", f"{ADMIN_PATH}/{path}{query}", content=content, max_retries=0)


def _one(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="@")


def _replay(job_id: str) -> Call:
    return _order(f"dead/{_one(job_id)}/replay")


def _drain(worker: str | None) -> Call:
    return _order("drain" if worker is None else f"workers/{_one(worker)}/drain")


def _alias(name: str, alias: str, version: str) -> Call:
    request = built(AliasRequest, {"alias": alias, "version": version})
    return _order(f"models/{_one(name)}/alias", content=request.model_dump_json().encode())


@dataclass(frozen=True)
class Admin:
    """Blocks until the answer is there. Workers obey orders between two steps."""

    transport: SyncTransport

    def queue(self) -> QueueDocument:
        """The depth of each model's queue, every worker, and the number of dead jobs."""
        return self.transport.ask(_get("queue"), QueueDocument)

    def dead(self) -> list[DeadJobDocument]:
        """The jobs that were given up."""
        return self.transport.ask(_get("dead"), DeadJobList).jobs

    def replay(self, job_id: str) -> DeadJobDocument:
        """Queue a dead job again. Raises NotFound."""
        return self.transport.ask(_replay(job_id), DeadJobDocument)

    def drain(self, worker: str | None = None) -> ControlDocument:
        """Let a worker, or all of them, finish what runs and stop. Raises NotFound."""
        return self.transport.ask(_drain(worker), ControlDocument)

    def load(self, model: str, worker: str | None = None) -> ControlDocument:
        """Let a worker, or all, load "name" or "name@version" from their stores. Raises UnknownModel, NotFound."""
        return self.transport.ask(_order(f"models/{_one(model)}/load", worker), ControlDocument)

    def unload(self, model: str, worker: str | None = None) -> ControlDocument:
        """Let a worker, or all, let go of a model once its last job has ended. Raises UnknownModel, NotFound."""
        return self.transport.ask(_order(f"models/{_one(model)}/unload", worker), ControlDocument)

    def alias(self, name: str, alias: str, version: str) -> AliasDocument:
        """Let "name@alias" mean "name@version"; "default" is what a bare name means. Raises UnknownModel."""
        return self.transport.ask(_alias(name, alias, version), AliasDocument)


@dataclass(frozen=True)
class AsyncAdmin:
    """The same, awaited."""

    transport: AsyncTransport

    async def queue(self) -> QueueDocument:
        return await self.transport.ask(_get("queue"), QueueDocument)

    async def dead(self) -> list[DeadJobDocument]:
        return (await self.transport.ask(_get("dead"), DeadJobList)).jobs

    async def replay(self, job_id: str) -> DeadJobDocument:
        return await self.transport.ask(_replay(job_id), DeadJobDocument)

    async def drain(self, worker: str | None = None) -> ControlDocument:
        return await self.transport.ask(_drain(worker), ControlDocument)

    async def load(self, model: str, worker: str | None = None) -> ControlDocument:
        return await self.transport.ask(_order(f"models/{_one(model)}/load", worker), ControlDocument)

    async def unload(self, model: str, worker: str | None = None) -> ControlDocument:
        return await self.transport.ask(_order(f"models/{_one(model)}/unload", worker), ControlDocument)

    async def alias(self, name: str, alias: str, version: str) -> AliasDocument:
        return await self.transport.ask(_alias(name, alias, version), AliasDocument)
