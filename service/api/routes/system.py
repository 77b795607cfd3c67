"""Health, readiness, models, metrics."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from fivefold.cards import Health, ModelCard, ModelList
from fivefold.errors import NotReady
from service.api.execution.catalogue import Catalogue, Served
from service.broker.base import Producer, QueueAway
from service.families.registry import Family
from service.telemetry import Metrics


def system_router(queue: Producer, catalogue: Catalogue, families: Sequence[Family], metrics: Metrics) -> APIRouter:
    """The routes that are not operations."""
    router = APIRouter()
    operations = {family.name: [pipeline.operation.path for pipeline in family.pipelines] for family in families}

    @router.get("/v1/models", summary="Every model that is served now")
    async def models() -> ModelList:
        return ModelList(models=[await card_of(served, catalogue, operations) for served in await catalogue.served()])

    @router.get("/v1/models/{name}", summary='One model, by "name" or "name@version"')
    async def model(name: str) -> ModelCard:
        return await card_of(await catalogue.find(name, ""), catalogue, operations)

    @router.get("/healthz/live", summary="The process answers")
    async def live() -> Health:
        return Health(status="live")

    @router.get("/healthz/ready", summary="Every required model is served; 503 with the reasons until then")
    async def ready() -> Health:
        if reasons := await catalogue.reasons_not_ready():
            raise NotReady("; ".join(reasons), retry_after_s=1.0)
        return Health(status="ready")

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        with suppress(QueueAway):  # what this process counts by itself is told all the same
            await measure(queue, catalogue, metrics)
        return Response(generate_latest(metrics.registry) + metrics.worker_exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


async def card_of(served: Served, catalogue: Catalogue, operations: Mapping[str, list[str]]) -> ModelCard:
    """`operations` are the paths of each family's."""
    model, manifest = served.model, served.model.manifest
    family, ref = manifest.params.family, model.ref
    return ModelCard(
        name=ref.name,
        version=ref.version,
        digest=ref.digest,
        family=family,
        default=await catalogue.default(family) == ref,
        aliases=await catalogue.aliases(ref),
        operations=operations[family],
        loaded=served.as_served.loaded,
        device=served.worker.device,
        scope=served.worker.scope,
        exactness=manifest.exactness,
        licence=manifest.provenance.licence,
        trained_at=manifest.provenance.trained_at,
        metrics=manifest.metrics,
        parameters=manifest.params.model_dump(mode="json", exclude={"family"}),
    )


async def measure(queue: Producer, catalogue: Catalogue, metrics: Metrics) -> None:
    """What only the queue knows: read when somebody asks. Raises QueueAway."""
    metrics.workers.set(len(await catalogue.workers()))
    models = [str(served.model.ref) for served in await catalogue.served()]
    depths = await asyncio.gather(*map(queue.depth, models))
    metrics.queued_seconds.clear()
    for model, depth in zip(models, depths, strict=True):
        metrics.queued_seconds.labels(model).set(depth.predicted_seconds)
