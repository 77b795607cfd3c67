"""Data sets: every byte is checked, and each error names the way out."""

import gzip
import hashlib
import io
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from training.data import FASHION, SHUTTLE, read_idx, toy_images
from training.fetch import Archive, DataError, DataSet, Member

SAMPLES = Path(__file__).parents[1] / "data"
CONTENT = b"five families"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("inside/words.gz")
        entry.size = len(data := gzip.compress(CONTENT, mtime=0))
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def data_set(upstream: Path, *, tool: str = "cp", **hashes: str) -> DataSet:
    """A set whose package is a local tar file."""
    unpack = (sys.executable, "-m", "tarfile", "-e")
    package = Archive((tool, str(upstream), "words.tar"), unpack, "words.tar", hashes.get("archive", sha256(archive())))
    member = Member("inside/words.gz", gzip.decompress, hashes.get("member", sha256(CONTENT)))
    return DataSet("words", package, (member,), "CC0")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    path = tmp_path / "upstream.tar"
    path.write_bytes(archive())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_a_set_is_fetched_unpacked_and_decompressed(upstream: Path, folder: Path) -> None:
    assert data_set(upstream).load(folder) == [CONTENT]


def test_a_fetched_set_needs_its_source_no_more(upstream: Path, folder: Path) -> None:
    data_set(upstream).load(folder)
    upstream.unlink()
    assert data_set(upstream).load(folder) == [CONTENT]


def test_a_whole_archive_of_an_earlier_run_is_not_fetched_again(upstream: Path, folder: Path) -> None:
    folder.mkdir()
    upstream.rename(folder / "words.tar")
    assert data_set(upstream).load(folder) == [CONTENT]


def test_a_partial_archive_of_an_earlier_run_is_completed(upstream: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "words.tar").write_bytes(archive()[:100])
    assert data_set(upstream).load(folder) == [CONTENT]


def test_upstream_files_put_there_by_hand_need_no_package_tool(folder: Path) -> None:
    home = folder / "words"
    home.mkdir(parents=True)
    (home / "words.gz").write_bytes(gzip.compress(CONTENT))
    assert data_set(Path("nowhere"), tool="no-such-tool").load(folder) == [CONTENT]


def test_a_missing_tool_is_named_with_the_files_to_put_there_by_hand(upstream: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"no-such-tool is not installed; put words\.gz into .*words"):
        data_set(upstream, tool="no-such-tool").load(folder)


def test_a_failing_tool_is_quoted(folder: Path) -> None:
    with pytest.raises(DataError, match=r"cp .* failed: .*No such file.*; put words\.gz into"):
        data_set(folder / "nowhere").load(folder)


def test_an_archive_of_another_hash_is_refused_with_both_hashes(upstream: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=f"has sha256 {sha256(archive())}, expected {'0' * 64}"):
        data_set(upstream, archive="0" * 64).load(folder)


def test_a_member_of_another_hash_is_refused_with_both_hashes(upstream: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=f"decodes to sha256 {sha256(CONTENT)}, expected {'0' * 64}"):
        data_set(upstream, member="0" * 64).load(folder)


def test_a_truncated_member_is_refused_with_the_way_out(folder: Path) -> None:
    home = folder / "words"
    home.mkdir(parents=True)
    (home / "words.gz").write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(DataError, match="delete it to fetch it again"):
        data_set(Path("nowhere")).load(folder)


@pytest.mark.parametrize("known", [FASHION, SHUTTLE])
def test_the_provenance_of_a_set_names_each_file_with_its_hash(known: DataSet) -> None:
    assert len(known.provenance()) == len(known.members)
    assert all(len(value) == 64 and name.startswith(f"{known.name}/") for name, value in known.provenance().items())


def test_idx_bytes_become_an_array_of_their_shape() -> None:
    data = bytes((0, 0, 8, 2)) + struct.pack(">II", 2, 3) + bytes(range(6))
    assert read_idx(data).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_toy_images_are_the_same_every_time_and_told_apart_by_their_labels() -> None:
    first, second = toy_images(), toy_images()
    assert (first.train[0] == second.train[0]).all()
    images, labels = first.train
    brightest = images.float().mean(dim=3).argmax(dim=2).flatten()
    assert ((brightest - 2 * labels - 2) < 6).all()


def test_the_committed_samples_are_what_their_readme_says() -> None:
    with np.load(SAMPLES / "fashion_test_500.npz") as fashion, np.load(SAMPLES / "shuttle_500.npz") as shuttle:
        assert (fashion["images"].shape, fashion["images"].dtype) == ((500, 28, 28), np.uint8)
        assert set(fashion["labels"].tolist()) == set(range(10))
        assert (shuttle["rows"].shape, shuttle["rows"].dtype) == ((500, 9), np.float32)
        assert 0 < shuttle["outlier"].sum() < 250
