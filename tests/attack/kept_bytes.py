"""What stays in the queue: answers, requests, streamed steps, header fields, and requests that it never holds."""

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.attack.scenario import JSON_FACTOR, Outcome, Scenario
from tests.attack.target import Target

ROW = [37, 0, 92, 0, 24, 3, 55, 69, 14]
ASYNC = {"prefer": "respond-async"}
DIFFUSION = {"models": '["diffusion-fashion", "vae-shuttle"]'}
KEPT_FACTOR = 0.6  # of the bytes that are sent: of 294 MB, what the queue may hold
PNG_HEADER_BYTES = 33  # signature and IHDR: a chunk of one's own may follow


def picture_with_a_private_chunk(chunk_bytes: int) -> str:
    """A grey PNG of 28 x 28 in base64."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(file, "PNG")
    png, chunk = file.getvalue(), b"prVt" + bytes(chunk_bytes)
    extra = struct.pack(">I", chunk_bytes) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return base64.b64encode(png[:PNG_HEADER_BYTES] + extra + png[PNG_HEADER_BYTES:]).decode()


def answers_of_small_rows(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.client() as http:
        for _ in range(int(160 * scale)):
            answer = http.post("/v1/vae/encode", json={"model": "vae-shuttle", "rows": [ROW] * 4096})
            outcome.add(answer.status_code, int(answer.request.headers["content-length"]))
    return outcome


def asynchronous_requests_of_large_pictures(target: Target, scale: float) -> Outcome:
    """More than the queue holds, at any scale."""
    outcome, body = Outcome(), {"model": "vae-fashion", "images": [picture_with_a_private_chunk(11_000_000)]}
    with target.client() as http:
        for _ in range(max(20, int(60 * scale))):
            answer = http.post("/v1/vae/encode", json=body, headers=ASYNC)
            outcome.add(answer.status_code, int(answer.request.headers["content-length"]))
    return outcome


def a_job_of_many_steps(target: Target, scale: float) -> Outcome:
    """Another client asks beside it."""
    outcome = Outcome()
    with target.client() as http:
        job = http.post("/v1/diffusion/sample", json={"n": 256, "steps": 1000}, headers=ASYNC)
        outcome.add(job.status_code)
        for _ in range(int(100 * scale)):
            outcome.add(http.post("/v1/vae/encode", json={"model": "vae-shuttle", "rows": [ROW]}).status_code)
        outcome.add(http.delete(job.headers["location"]).status_code)
    return outcome


def requests_that_never_fit(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.client() as http:
        for headers in ({}, ASYNC, {"idempotency-key": "k"}):
            body = {"n": 4096, "steps": 1000}
            outcome.add(http.post("/v1/diffusion/sample", json=body, headers=headers).status_code)
    return outcome


def keys_of_many_characters(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.client() as http:
        for _ in range(int(500 * scale)):
            answer = http.post("/v1/flow/sample", json={}, headers={"idempotency-key": "k" * 10_000})
            outcome.add(answer.status_code, 10_000)
    return outcome


SCENARIOS = [
    Scenario("kept bytes", "answers of 4,096 small rows", answers_of_small_rows, frozenset({200})),
    Scenario(
        "kept bytes",
        "asynchronous requests with an 11 MB chunk in a picture",
        asynchronous_requests_of_large_pictures,
        frozenset({202, 429}),
        KEPT_FACTOR,
    ),
    Scenario(
        "kept bytes",
        "a job of 256 x 1,000 streamed steps beside a client",
        a_job_of_many_steps,
        frozenset({200, 202}),
        JSON_FACTOR,
        DIFFUSION,
    ),
    Scenario(
        "kept bytes", "requests that never fit", requests_that_never_fit, frozenset({422}), JSON_FACTOR, DIFFUSION
    ),
    Scenario("kept bytes", "idempotency keys of 10 kB", keys_of_many_characters, frozenset({422})),
]
