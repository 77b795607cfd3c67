"""`fivefold enhance`: denoise, enlarge or fill in pictures; files and folders."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fivefold.cli.bulk import pictures_answered, reason
from fivefold.cli.options import DEFAULT_URL, ClassName, Json, ModelName, Seed, Url, connect
from fivefold.cli.pictures import grid, is_folder, picture_files
from fivefold.cli.records import written
from fivefold.cli.reporting import examples, finish, note, progress
from fivefold.cli.served import card_of, class_of, reference
from fivefold.diffusion import ENHANCE, DiffusionRestoration, Task
from fivefold.errors import InvalidInput
from fivefold.images import Image
from fivefold.operation import FailedItem

COLUMNS = ("input", "output", "seed", "sigma", "consistency_error", "error")


def register(app: typer.Typer) -> None:
    shown = examples(
        "fivefold enhance photo.png --task denoise -o clean.png --before-after",
        "fivefold enhance small.png --task super_resolve --factor 2 -o large.png",
        "fivefold enhance torn.png --task inpaint --mask known.png --class boot -o whole.png",
        "fivefold enhance photos/ --task denoise --sigma 0.1 -o clean/",
    )
    app.command(epilog=shown)(enhance)


def enhance(
    source: Annotated[Path, typer.Argument(help="A picture of the model's size, or a folder of pictures.")],
    task: Annotated[Task, typer.Option(help="What is wrong with it: noise, too few pixels, or missing pixels.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A picture; a folder for a folder.")],
    mask: Annotated[Path | None, typer.Option(help="inpaint: white is known, black is filled in.")] = None,
    sigma: Annotated[float | None, typer.Option(help="denoise: noise level in [0, 1]; omitted: estimated.")] = None,
    factor: Annotated[int | None, typer.Option(help="super_resolve: 2 or 4.")] = None,
    steps: Annotated[int | None, typer.Option(help="Noise levels; more is better and slower.")] = None,
    class_name: ClassName = None,
    before_after: Annotated[bool, typer.Option(help="Also write x-before-after.png beside the output.")] = False,
    model: ModelName = None,
    seed: Seed = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Restore pictures: remove noise, enlarge, or fill in what is missing.

    A folder is restored picture by picture; one that cannot be read harms no other.
    """
    files = picture_files(source)
    targets = _targets(source, files, output)
    with connect(url) as client:
        card = card_of(client, "diffusion", model)
        settings = {"sigma": sigma, "factor": factor, "steps": steps}
        fields: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        fields |= {"task": task, "model": reference(card)}
        if class_name is not None:
            fields["class_name"] = class_of(card, class_name)
        if mask is not None:
            fields["masks"] = [Image.open(mask)]
        failed = 0
        with written(None, COLUMNS, as_json=True) as write, progress("restoring", len(files)) as report:
            for index, (file, restored) in enumerate(pictures_answered(client, ENHANCE, files, fields, seed or 0)):
                failed += isinstance(restored, FailedItem)
                record = _save(file, targets[index], restored, before_after=before_after)
                (write if as_json else _tell)(record)
                report(index + 1)
    finish(failed, len(files), "pictures")


def _targets(source: Path, files: list[Path], output: Path) -> list[Path]:
    """Where each picture goes. Raises InvalidInput for a folder into one picture."""
    if source.is_dir() and not is_folder(output):
        raise InvalidInput(f"{len(files)} pictures given, {output} holds 1: name a folder")
    if not is_folder(output):
        return [output]
    output.mkdir(parents=True, exist_ok=True)
    return [output / f"{file.stem}.png" for file in files]


def _save(
    file: Path, target: Path, restored: DiffusionRestoration | FailedItem, *, before_after: bool
) -> dict[str, Any]:
    """What became of one picture, as a record."""
    if isinstance(restored, FailedItem):
        return {"input": str(file), "error": reason(restored)}
    if target.suffix.lower() == ".png":
        restored.image.save(target)  # as it came, to the byte
    else:
        restored.image.pil().save(target)
    if before_after:
        grid([Image.open(file), restored.image], columns=2).save(target.with_name(f"{target.stem}-before-after.png"))
    facts = restored.model_dump(exclude={"index", "image"}, exclude_none=True)
    return {"input": str(file), "output": str(target), **facts}


def _tell(record: dict[str, Any]) -> None:
    if "error" in record:
        note(f"{record['input']}: {record['error']}")
    else:
        facts = (f"{name} {record[name]:.3g}" for name in ("sigma", "consistency_error") if name in record)
        note(f"{record['output']}: {', '.join(facts)}")
