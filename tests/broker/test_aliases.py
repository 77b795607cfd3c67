"""Aliases of the in-process queue: they survive a restart, and a file that fails is said."""

from pathlib import Path

import pytest
from queued import Clock, memory_broker

from fivefold.errors import NotReady
from service.broker.aliases import AliasFile


async def test_aliases_survive_a_restart(tmp_path: Path, clock: Clock) -> None:
    await memory_broker(clock, tmp_path).set_alias("m@stable", "m@1")
    await memory_broker(clock, tmp_path).set_alias("m@next", "m@2")
    assert await memory_broker(clock, tmp_path).aliases() == {"m@stable": "m@1", "m@next": "m@2"}
    assert [path.name for path in tmp_path.iterdir()] == ["aliases.json"]


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    aliases = AliasFile(tmp_path / "missing" / "aliases.json")
    with pytest.raises(NotReady, match=r"missing/aliases.json is not writable .* FIVEFOLD_ALIASES_FILE"):
        aliases.set("m@stable", "m@1")
    assert aliases.all() == {}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"m@stable": 1}', b"\xff"])
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "aliases.json"
    path.write_bytes(content)
    aliases = AliasFile(path)
    assert aliases.all() == {}
    aliases.set("m@stable", "m@1")
    assert AliasFile(path).all() == {"m@stable": "m@1"}
