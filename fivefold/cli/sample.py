"""`fivefold sample`: new pictures or rows, as a file, a grid, a folder or an array."""

import io
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import typer

from fivefold import diffusion, flow, gan, vae
from fivefold.cards import ModelCard
from fivefold.cli.options import DEFAULT_URL, ClassName, Json, ModelName, Output, Seed, Url, connect
from fivefold.cli.pictures import grid, is_folder
from fivefold.cli.records import written
from fivefold.cli.reporting import examples, note, progress
from fivefold.cli.served import card_of, class_of, is_picture, reference, width_of
from fivefold.client import Client
from fivefold.errors import InvalidInput
from fivefold.images import Image
from fivefold.operation import NPY_TYPE, AnyOperation, SamplingRequest
from fivefold.parsing import built

BATCH = 16
OPERATIONS: dict[str, AnyOperation] = {
    operation.family: operation for operation in (diffusion.SAMPLE, flow.SAMPLE, gan.SAMPLE, vae.SAMPLE)
}
Family = Literal["diffusion", "flow", "gan", "vae"]


def register(app: typer.Typer) -> None:
    shown = examples(
        "fivefold sample --family diffusion --class boot --n 16 --seed 7 -o boots.png",
        "fivefold sample --family gan --class bag --n 100 --truncation 0.7 -o bags/",
        "fivefold sample --family flow --model flow-shuttle --n 1000 -o rows.csv",
        "fivefold sample --family flow --model flow-fashion --n 64 -o pictures.npy",
    )
    app.command(epilog=shown)(sample)


def sample(
    family: Annotated[Family, typer.Option(help="The family of the model.")],
    model: ModelName = None,
    class_name: ClassName = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many.")] = 1,
    seed: Seed = None,
    steps: Annotated[int | None, typer.Option(help="diffusion: noise levels; more is better and slower.")] = None,
    guidance: Annotated[float | None, typer.Option(help="diffusion: how hard to pull towards the class.")] = None,
    truncation: Annotated[float | None, typer.Option(help="gan: below 1 is more typical, 0 to 1.")] = None,
    temperature: Annotated[float | None, typer.Option(help="flow, vae: below 1 is more typical, 0 to 2.")] = None,
    output: Output = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Draw pictures or rows from a model.

    -o x.png is one picture (a grid where --n is above 1), a folder gets one PNG each, x.npy the exact numbers,
    and x.csv a table's rows, which go to stdout without -o.
    """
    with connect(url) as client:
        card = card_of(client, family, model)
        settings = {"steps": steps, "guidance": guidance, "truncation": truncation, "temperature": temperature}
        fields = _fields(card, settings | {"class": class_name})
        draw = _Draw(client, card, OPERATIONS[family], fields, n, secrets.randbelow(2**32) if seed is None else seed)
        _save(draw, output, as_json=as_json)


def _fields(card: ModelCard, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are given as fields of the family's request. Raises InvalidInput for one it does not have."""
    given = {name: value for name, value in options.items() if value is not None}
    known = {field.alias or name for name, field in OPERATIONS[card.family].request.model_fields.items()}
    for name in given.keys() - known:
        raise InvalidInput(f"--{name} {given[name]} given, {card.family} takes none: leave it out")
    return given | ({"class": class_of(card, given["class"])} if "class" in given else {})


class _Draw:
    """`n` items in requests of BATCH. Item i has seed + i, so the parts are what one request would give."""

    def __init__(
        self, client: Client, card: ModelCard, operation: AnyOperation, fields: dict[str, Any], n: int, seed: int
    ) -> None:
        self.card, self.n, self.seed = card, n, seed
        self._client, self._operation, self._fields = client, operation, fields | {"model": reference(card)}

    def _requests(self) -> Iterator[SamplingRequest]:
        with progress(f"sampling {self.card.name}", self.n) as report:
            for start in range(0, self.n, BATCH):
                part = {"n": min(BATCH, self.n - start), "seed": self.seed + start}
                yield built(self._operation.request, self._fields | part)
                report(start + part["n"])

    def items(self) -> Iterator[Any]:
        for request in self._requests():
            yield from self._client.call(self._operation, request).results

    def arrays(self) -> Iterator[Any]:
        for request in self._requests():
            reply = self._client.raw(self._operation, request, NPY_TYPE)
            yield numpy.load(io.BytesIO(reply.content), allow_pickle=False)


def _save(draw: _Draw, output: Path | None, *, as_json: bool) -> None:
    if output is not None and output.suffix == ".npy":
        numpy.save(output, numpy.concatenate(list(draw.arrays())), allow_pickle=False)
        files = [output]
    elif not is_picture(draw.card):
        _save_rows(draw, output, as_json=as_json and output is None)
        files = [output] if output else []
    elif output is None:
        raise InvalidInput(f"{draw.card.name} draws pictures, which need a place: -o sample.png, a folder, or x.npy")
    else:
        files = _save_folder(draw, output) if is_folder(output) else [_save_picture(draw, output)]
    if files:
        _tell(draw, files, as_json=as_json)


def _save_rows(draw: _Draw, output: Path | None, *, as_json: bool) -> None:
    names = draw.card.parameters.get("columns") or [f"column_{index}" for index in range(width_of(draw.card))]
    with written(output, names, as_json=as_json) as write:
        for item in draw.items():
            write(dict(zip(names, item.row, strict=True)))


def _save_picture(draw: _Draw, output: Path) -> Path:
    images: list[Image] = [item.image for item in draw.items()]
    if draw.n == 1 and output.suffix.lower() == ".png":
        images[0].save(output)  # as it came, to the byte
    else:
        grid(images).save(output)
    return output


def _save_folder(draw: _Draw, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, item in enumerate(draw.items()):
        files.append(folder / f"{index:0{len(str(draw.n - 1))}d}.png")
        item.image.save(files[-1])
    return files


def _tell(draw: _Draw, files: list[Path], *, as_json: bool) -> None:
    model = reference(draw.card)
    if as_json:
        facts = {"model": model, "n": draw.n, "seed": draw.seed, "files": [str(file) for file in files]}
        typer.echo(json.dumps(facts))
    place = files[0] if len(files) == 1 else files[0].parent
    note(f"{place}: {draw.n} drawn from {model} with seed {draw.seed}")
