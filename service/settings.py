"""Every knob: typed, frozen, units in the names, read once from FIVEFOLD_* variables."""

import ipaddress
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_store.store import DEFAULT_ROOT


class Settings(BaseSettings):
    """Read at the entry point and passed down. Raises ValidationError for what cannot work."""

    model_config = SettingsConfigDict(env_prefix="FIVEFOLD_", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    allow_public: bool = Field(False, description="listen beyond loopback although there are no API keys")
    keys_file: Path | None = Field(None, description="the API keys; without it everybody is let in")
    store: Path = DEFAULT_ROOT
    models: tuple[str, ...] = Field((), description='what to serve, "name" or "name@version"; empty: everything')
    device: Literal["auto", "cpu", "cuda"] = "auto"
    intra_op_threads: int = Field(max(1, (os.cpu_count() or 1) - 1), ge=1)
    allow_spinning: bool = Field(False, description="let idle engine threads spin: faster on cores of their own")
    allow_torchscript: bool = Field(False, description="TorchScript is code: only for models you trust")
    max_body_bytes: int = Field(16 * 2**20, ge=1)
    max_rows: int = Field(4096, ge=1, description="items in one request")
    max_step_ms: float = Field(50.0, gt=0, description="how long one step of a batch may take by the cost curve")
    max_queue_seconds: float = Field(60.0, gt=0, description="predicted work a model's queue may hold")
    heartbeat_seconds: float = Field(0.5, gt=0)
    stale_after_seconds: float = Field(2.0, gt=0, description="a worker silent for longer does not count as ready")
    shutdown_seconds: float = Field(20.0, gt=0, description="how long the live batch may take to finish")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _public_only_if_told(self) -> Self:
        loopback = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        if not loopback and self.keys_file is None and not self.allow_public:
            raise ValueError(
                f"{self.host} is not a loopback address and there are no API keys: "
                "listen on 127.0.0.1, set FIVEFOLD_KEYS_FILE, or let everybody in with FIVEFOLD_ALLOW_PUBLIC=true"
            )
        return self
