"""What was trained: graphs, their tensors, the family's parameters, metrics and provenance."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Exactness = Literal["bitwise", "bucketed", "token_equal"]


class Frozen(BaseModel):
    """A value: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Frozen):
    """One input or output of a graph. A string in `shape` is a symbolic dimension, such as "batch"."""

    name: str
    dtype: Literal["float32", "float16", "int64", "int32", "bool"]
    shape: tuple[int | str, ...]


class FileSpec(Frozen):
    """A file of the model's folder: the bytes are refused unless both figures agree."""

    sha256: Sha256
    size_bytes: int = Field(ge=0)


class GraphSpec(FileSpec):
    """One exported graph.

    `exactness` is what the export measured: with "bitwise", a row's outputs have the same bits in every batch.
    `golden_atol` is the absolute tolerance within which the golden file must replay on this graph.
    """

    file: FileName
    format: Literal["onnx", "torchscript"]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: Literal["float32", "float16", "int8", "int4"] = "float32"
    exactness: Exactness = "bitwise"
    golden_atol: float = Field(gt=0)


class Params(Frozen):
    """What a family's loop needs to know and the graph does not hold. One subclass per family; defining it is enough.

    A subclass declares `family: Literal["..."] = "..."`.
    """

    family: str

    @classmethod
    def families(cls) -> Iterator[type["Params"]]:
        for subclass in cls.__subclasses__():
            yield subclass
            yield from subclass.families()

    @classmethod
    def parse(cls, value: dict[str, Any]) -> "Params":
        """Params of the family named by `value["family"]`. Raises ValueError where no class declares it."""
        known = {subclass.model_fields["family"].default: subclass for subclass in cls.families()}
        if (family := value.get("family")) not in known:
            raise ValueError(f"family {family!r} is not one of {sorted(known)}")
        return known[family].model_validate(value)


class FlowParams(Params):
    """A normalizing flow on events of `event_shape`.

    `columns` names the entries of a tabular event (empty for images). `levels` is the number of integer values an
    entry can take after uniform dequantisation (256 for images), or None where entries are unbounded integers.
    `layers` names the log-determinants that the forward graph returns, in order.
    """

    family: Literal["flow"] = "flow"
    event_shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    levels: int | None = None
    layers: tuple[str, ...]


class DiffusionParams(Params):
    """An EDM denoiser (Karras et al. 2022, arXiv:2206.00364) of images [C, H, W] scaled to [-1, 1].

    `classes` are the labels by index; the label len(classes) means "no class" (classifier-free guidance).
    Noise levels (sigma) are in units of the scaled image.
    """

    family: Literal["diffusion"] = "diffusion"
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    sigma_data: float
    sigma_min: float
    sigma_max: float
    rho: float = 7.0


class TransformerParams(Params):
    """A decoder of token ids 0 .. vocabulary_size - 1 with a key-value cache, and how to run its graphs.

    A text has at most `capacity` tokens. The graph `prefill` takes `chunk` tokens at a time, on the grid of multiples
    of `chunk` from the text's beginning, the last chunk padded with any tokens; `decode` takes one. A cache is float32
    [layers, kv_heads, capacity, head_size], for keys and for values; finite numbers beyond the tokens read so far
    change no bit, so a slot can be used again as it is. `end_of_text` ends a document, and may stand before one.
    """

    family: Literal["transformer"] = "transformer"
    vocabulary_size: int
    capacity: int
    chunk: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    end_of_text: int


class VaeParams(Params):
    """A variational autoencoder of events of `event_shape` with `latent_size` latents.

    `columns` names the entries of a tabular event (empty for images). `levels` is the number of values an entry can
    take (256 for images: x = k / 255), or None where entries are unbounded integers.
    """

    family: Literal["vae"] = "vae"
    event_shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    levels: int | None = None
    latent_size: int


class GanParams(Params):
    """A class-conditional generator of images [C, H, W] in [0, 1], with its critic.

    `classes` are the labels by index. A latent has `latent_size` standard normal numbers, a style `style_size`.
    """

    family: Literal["gan"] = "gan"
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    latent_size: int
    style_size: int


class Provenance(Frozen):
    """Where a model comes from, so that its training can be repeated."""

    commit: str
    command: str
    seed: int
    data: dict[str, str]
    trained_at: str
    training_seconds: float
    machine: str
    licence: str


class Manifest(Frozen):
    """Everything that stands in manifest.json. `files` lists the folder's other files by name."""

    schema_version: Literal[1] = 1
    name: Name
    version: Name
    graphs: dict[str, GraphSpec]
    params: SerializeAsAny[Params]
    files: dict[FileName, FileSpec] = {}
    metrics: dict[str, float] = {}
    provenance: Provenance

    @field_validator("params", mode="before")
    @classmethod
    def _params_by_family(cls, value: Any) -> Any:
        return Params.parse(value) if isinstance(value, dict) else value

    @property
    def exactness(self) -> Exactness:
        """The weakest promise among the graphs."""
        order: tuple[Exactness, ...] = ("bitwise", "bucketed", "token_equal")
        return max((graph.exactness for graph in self.graphs.values()), key=order.index)


def is_name(text: str) -> bool:
    """True where `text` may name a model or a version."""
    return re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", text) is not None
