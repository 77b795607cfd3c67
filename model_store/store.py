"""Models on disk: publish atomically, read with hash checks, versions and aliases."""

import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from model_store.manifest import FileSpec, Manifest, is_name
from model_store.tokenizer import TOKENIZER, Tokenizer

DEFAULT_ROOT = Path(__file__).parent / "models"
MANIFEST = "manifest.json"
ALIASES = "aliases.json"
DEFAULT_ALIAS = "default"
CALIBRATION = "calibration.npz"


class StoreError(Exception):
    """A model that is not there, or not as its manifest says."""


class UnknownModel(StoreError):
    """No such model, version or alias."""


class TamperedFile(StoreError):
    """A file's bytes are not those of the manifest; the message holds both hashes."""


@dataclass(frozen=True)
class ModelRef:
    """A model, exactly: `digest` is the sha256 of its manifest, which holds the hashes of all its files."""

    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Model:
    """A published model, without a device."""

    ref: ModelRef
    manifest: Manifest
    folder: Path

    def read(self, file: str, spec: FileSpec) -> bytes:
        """The bytes of a file, once they match `spec`. Raises TamperedFile."""
        path = self.folder / file
        if path.is_symlink() or not path.is_file():
            raise TamperedFile(f"{self.ref}: {file} is missing or a link")
        if (size := path.stat().st_size) != spec.size_bytes:
            raise TamperedFile(f"{self.ref}: {file} has {size} bytes, the manifest says {spec.size_bytes}")
        data = path.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != spec.sha256:
            raise TamperedFile(f"{self.ref}: {file} has sha256 {found}, the manifest says {spec.sha256}")
        return data

    def graph(self, name: str) -> bytes:
        """The bytes of a graph, checked."""
        spec = self.manifest.graphs[name]
        return self.read(spec.file, spec)

    def file(self, name: str) -> bytes:
        """The bytes of one of the manifest's other files, checked."""
        if name not in self.manifest.files:
            raise UnknownModel(f"{self.ref} has no {name}; it has {sorted(self.manifest.files)}")
        return self.read(name, self.manifest.files[name])

    def arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        """The arrays of an .npz file, checked and without pickle."""
        with np.load(io.BytesIO(self.file(name)), allow_pickle=False) as archive:
            return dict(archive)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, from its file, checked. Read once."""
        return Tokenizer(self.file(TOKENIZER))

    @cached_property
    def calibration(self) -> Mapping[str, NDArray[np.generic]]:
        """What the trainer measured on held-out data: sorted scores, pixel statistics. Read once."""
        return self.arrays(CALIBRATION)

    def verify(self) -> None:
        """Read and check every file. Raises TamperedFile."""
        for name in self.manifest.graphs:
            self.graph(name)
        for name in self.manifest.files:
            self.file(name)


class Store:
    """A folder of models: <root>/<name>/<version>/manifest.json, and <root>/<name>/aliases.json."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("*") if is_name(path.name) and self._versions(path))

    def versions(self, name: str) -> list[str]:
        """The versions of a model, in the order of their numbers: 9 before 10. Raises UnknownModel."""
        if name not in self.names():
            raise UnknownModel(f"no model {name!r}; there are {self.names()}")
        return self._versions(self.root / name)

    def aliases(self, name: str) -> dict[str, str]:
        """alias -> version. The alias "default" is what a bare name means: the last version, unless it was set."""
        versions = self.versions(name)
        path = self.root / name / ALIASES
        stored: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return {DEFAULT_ALIAS: versions[-1], **stored}

    def resolve(self, reference: str) -> Model:
        """The model that "name" or "name@version-or-alias" means. Raises UnknownModel, StoreError."""
        name, _, wanted = reference.partition("@")
        version = self.aliases(name).get(wanted or DEFAULT_ALIAS, wanted)
        if version not in self.versions(name):
            raise UnknownModel(f"{name!r} has no version or alias {wanted!r}; there are {self.versions(name)}")
        return self._read(self.root / name / version)

    def models(self) -> Iterator[Model]:
        """Every version of every model."""
        for name in self.names():
            for version in self.versions(name):
                yield self._read(self.root / name / version)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let `alias` mean `version`, atomically. Raises UnknownModel."""
        if version not in self.versions(name) or not is_name(alias):
            raise UnknownModel(f"{name!r} has versions {self.versions(name)}, not {version!r}; alias {alias!r}")
        stored = {**self.aliases(name), alias: version}
        _write_atomically(self.root / name / ALIASES, json.dumps(stored, indent=2, sort_keys=True).encode() + b"\n")

    def publish(self, manifest: Manifest, files: Mapping[str, bytes]) -> Model:
        """Write a new version, whole or not at all. `files` holds every file the manifest names.

        Raises StoreError where the version exists or the files are not those of the manifest.
        """
        folder = self.root / manifest.name / manifest.version
        if folder.exists():
            raise StoreError(f"{manifest.name}@{manifest.version} exists; publish another version")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
        try:
            for name, data in files.items():
                (draft / name).write_bytes(data)
            (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
            self._read(draft).verify()
            draft.chmod(0o755)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return self._read(folder)

    @staticmethod
    def _versions(folder: Path) -> list[str]:
        names = (path.parent.name for path in folder.glob(f"*/{MANIFEST}") if is_name(path.parent.name))
        return sorted(names, key=version_order)

    @staticmethod
    def _read(folder: Path) -> Model:
        data = (folder / MANIFEST).read_bytes()
        try:
            manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            raise StoreError(f"{folder.parent.name}/{folder.name}: {error}") from error
        digest = hashlib.sha256(data).hexdigest()
        return Model(ModelRef(manifest.name, manifest.version, digest), manifest, folder)


def version_order(version: str) -> tuple[tuple[bool, int, str], ...]:
    """A key that sorts versions: digits by their value, other text as text and after digits.

    >>> sorted(["10", "9", "1.10", "1.9", "9-beta"], key=version_order)
    ['1.9', '1.10', '9', '9-beta', '10']
    """
    parts = (part for part in re.split(r"([0-9]+)", version) if part)
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def file_spec(data: bytes) -> FileSpec:
    """The FileSpec of some bytes."""
    return FileSpec(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def _write_atomically(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(data)
    draft.replace(path)
