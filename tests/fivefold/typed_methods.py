"""Read by the type checker alone: an ignored line that is no mistake is a mistake."""

from typing import assert_type

from fivefold import AsyncClient, AsyncJobHandle, Client, Image, JobHandle
from fivefold.diffusion import ENHANCE, DiffusionEnhanceRequest, DiffusionPreview, DiffusionRestoration, DiffusionSample
from fivefold.flow import FlowLogLikelihood
from fivefold.operation import Answer
from fivefold.streaming import AsyncStream, Stream


def blocking(client: Client) -> None:
    answer = client.flow_log_likelihood(rows=[[1.0, 2.0]], model="flow-shuttle", include_terms=True)
    assert_type(answer, Answer[FlowLogLikelihood])
    assert_type(answer.results[0].log_dets_nats, dict[str, float])
    stream = client.diffusion_sample.stream(class_name="boot", solver="heun", n=2)
    assert_type(stream, Stream[Answer[DiffusionSample], DiffusionPreview])
    job = client.diffusion_sample.submit(class_name="boot", n=2)
    assert_type(job, JobHandle[Answer[DiffusionSample], DiffusionPreview])
    assert_type(job.wait(), Answer[DiffusionSample])
    request = DiffusionEnhanceRequest(task="denoise", images=[Image(b"")])
    assert_type(client.call(ENHANCE, request), Answer[DiffusionRestoration])


async def awaited(client: AsyncClient) -> None:
    assert_type(await client.flow_log_likelihood(rows=[[1.0, 2.0]]), Answer[FlowLogLikelihood])
    stream = client.diffusion_enhance.stream(task="denoise", images=[Image(b"")])
    assert_type(stream, AsyncStream[Answer[DiffusionRestoration], DiffusionPreview])
    async for chunk in stream:
        assert_type(chunk, DiffusionPreview)
    job = await client.diffusion_sample.submit(class_name="boot", n=2)
    assert_type(job, AsyncJobHandle[Answer[DiffusionSample], DiffusionPreview])
    assert_type(await job.wait(), Answer[DiffusionSample])
    async for chunk in job.events():
        assert_type(chunk, DiffusionPreview)


async def mistakes(client: Client, asynchronous: AsyncClient) -> None:
    client.flow_sample(m=2)  # type: ignore[call-arg]
    client.flow_sample(n="two")  # type: ignore[arg-type]
    client.diffusion_sample(solver="euler")  # type: ignore[arg-type]
    client.diffusion_enhance(images=[])  # type: ignore[call-arg]
    client.diffusion_sample.submit(steps="x")  # type: ignore[arg-type]
    asynchronous.diffusion_sample.stream(steps="x")  # type: ignore[arg-type]
    await client.flow_sample(n=2)  # type: ignore[misc]
