"""All settings: typed, frozen, units in the names, read once from FIVEFOLD_* variables; docs/settings.md lists them."""

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model_store.store import DEFAULT_ROOT
from service.cpus import usable_cpus
from service.jobs import Priority


def all_cores_but_one() -> int:
    """All CPUs that this process may use but one, at least 1."""
    return max(1, usable_cpus() - 1)


def _names(given: Any) -> Any:
    """A JSON list, or names with commas between them."""
    if not isinstance(given, str):
        return given
    return json.loads(given) if given.lstrip().startswith("[") else [name.strip() for name in given.split(",") if name]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]


class Settings(BaseSettings):
    """Read at the entry point and passed down. Raises ValidationError for what cannot work."""

    # An error at the start is printed: it does not quote what was given, which may be an address with its password.
    model_config = SettingsConfigDict(env_prefix="FIVEFOLD_", frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="port of the API; 0: a free one")
    allow_public: bool = Field(False, description="listen beyond loopback although there are no API keys")
    allowed_hosts: Names = Field(
        (), description="further host names of a service without keys; loopback names need no listing"
    )
    cors_origins: Names = Field(
        (), description="origins of the web pages that may call the service, such as https://app.example.org"
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path that a proxy puts before every route, such as /fivefold",
    )
    max_connections: int = Field(
        1000, ge=2, description="connections of clients; beyond it the oldest that waits for its client is closed"
    )
    client_seconds: float = Field(
        20.0, gt=0, description="how long a client may take to send a head, and to send or take the next bytes"
    )
    max_header_bytes: int = Field(32_768, ge=1024, description="bytes of a request's head")
    keep_alive_seconds: float = Field(
        75.0, gt=0, description="how long an idle connection stays open: longer than a load balancer keeps it"
    )
    keys_file: Path | None = Field(None, description="file of the API keys; none: requests need no key")
    store: Path = Field(DEFAULT_ROOT, description="folder of the models")
    aliases_file: Path | None = Field(
        None, description="file in which the in-process queue keeps aliases; none: aliases.json in the store"
    )
    models: Names = Field((), description='models to serve, "name" or "name@version"; empty: all of the store')
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto (a GPU if there is one), cpu or cuda")
    intra_op_threads: int = Field(default_factory=all_cores_but_one, ge=1, description="threads of a worker's engine")
    allow_spinning: bool = Field(False, description="let idle engine threads spin: faster on cores of their own")
    allow_torchscript: bool = Field(False, description="run TorchScript, which is code: only for models that you trust")
    max_body_bytes: int = Field(16 * 2**20, ge=1, description="bytes of one request's body")
    max_rows: int = Field(4096, ge=1, le=65_536, description="items in one request")
    max_step_ms: float = Field(50.0, gt=0, description="longest predicted duration of one step of a batch")
    redis_url: SecretStr | None = Field(
        None, description="the queue between machines; none: a queue in the API process"
    )
    broker_socket: Path | None = Field(
        None, description="a worker's way to the queue of the API process beside it; `python -m service` sets it"
    )
    max_queue_seconds: float = Field(60.0, gt=0, description="predicted work that a model's queue may hold")
    max_queued_jobs: int = Field(4096, ge=1, description="jobs that a model's queue may hold")
    lease_seconds: float = Field(10.0, gt=0, description="a worker without a heartbeat for so long loses its jobs")
    max_attempts: int = Field(3, ge=1, description="attempts after which a job that loses its workers is given up")
    unreadable_seconds: float = Field(60.0, gt=0, description="how long a job waits for a worker that reads its format")
    result_ttl_seconds: float = Field(300.0, gt=0, description="how long an ended job's answer is kept")
    max_kept_jobs: int = Field(4096, ge=1, description="ended jobs whose answers are kept")
    max_kept_bytes: int = Field(
        64 * 2**20, ge=1, description="bytes that ended jobs may hold, with their requests; with Redis of each model"
    )
    max_queue_bytes: int = Field(
        128 * 2**20, ge=1, description="bytes that waiting and running jobs may hold; with Redis of each model"
    )
    max_stream_bytes: int = Field(
        16 * 2**20, ge=1, description="bytes of one job's streamed steps that the queue holds; the oldest go first"
    )
    max_dead_jobs: int = Field(1000, ge=1, description="dead letters (jobs that were given up) that are kept")
    class_weights: Mapping[Priority, Annotated[float, Field(gt=0)]] = Field(
        {"interactive": 4.0, "normal": 1.0, "bulk": 0.25}, description="shares of the device by a request's priority"
    )
    session_bytes: int = Field(2**28, ge=1, description="bytes that the rows of one session may hold on the device")
    memory_bytes: int | None = Field(
        None, ge=1, description="bytes that a worker's loaded models and their sessions may hold; none: no limit"
    )
    unload_idle_seconds: float | None = Field(
        None, gt=0, description="a model without a job for so long is unloaded; its next job loads it; none: never"
    )
    heartbeat_seconds: float = Field(0.5, gt=0, description="time between two heartbeats of a worker")
    stale_after_seconds: float = Field(2.0, gt=0, description="a worker without a heartbeat for longer is not ready")
    probe_host: str = Field("127.0.0.1", description="address of a worker's port for health and metrics")
    probe_port: int | None = Field(
        None, ge=0, le=65535, description="a worker's port for health and metrics; none: no port"
    )
    shutdown_seconds: float = Field(20.0, gt=0, description="how long running rows may take to finish after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto (console on a terminal, else json), console or json"
    )

    @model_validator(mode="after")
    def _public_only_if_told(self) -> Self:
        loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        if not loopback and self.keys_file is None and not self.allow_public:
            raise ValueError(
                f"{self.host} is not a loopback address and there are no API keys: "
                "listen on 127.0.0.1, set FIVEFOLD_KEYS_FILE, or serve without keys with FIVEFOLD_ALLOW_PUBLIC=true"
            )
        return self

    @field_validator("redis_url")
    @classmethod
    def _is_a_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _names_a_server(url.get_secret_value()):
            raise ValueError("give the address of a server: redis://[:password@]host:6379/0; # / ? are %23 %2F %3F")
        return url

    @model_validator(mode="after")
    def _leases_outlive_heartbeats(self) -> Self:
        if self.lease_seconds < 3.0 * self.heartbeat_seconds:
            raise ValueError(
                f"lease_seconds {self.lease_seconds:g} is less than three heartbeats of {self.heartbeat_seconds:g} s: "
                "a worker that lives would lose its jobs"
            )
        return self


def _names_a_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number: the rest of a password, most likely
        return False
    return not parts.fragment and (parts.scheme == "unix" or (parts.scheme in ("redis", "rediss") and named))
