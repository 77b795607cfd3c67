"""The laws of the key ring, the keys files that are refused, and the command that makes a key."""

import hmac
import json
import subprocess
import sys
from pathlib import Path

import pytest
from keyed import by_bearer, by_key, entry, keys_file
from starlette.datastructures import Headers

from fivefold.errors import Unauthenticated
from service.api.access.issue_key import issue
from service.api.access.keys import KEY_SCOPES, InvalidKeys, KeyRing, Tenant, entries_of, read_keys
from service.settings import Settings

ROOT = Path(__file__).parents[2]
CANARY = "ff_canary-key"
NAMES = ["a", "b", "c", "d"]


def ring(*entries: dict, now: float = 0.0) -> KeyRing:
    return KeyRing(entries_of(json.dumps(entries).encode(), "test"), lambda: now)


def four() -> KeyRing:
    return ring(*(entry(name, f"key-{name}") for name in NAMES))


def tenant_of(keys: KeyRing, headers: dict[str, str]) -> Tenant:
    return keys.tenant_of(Headers(headers))


@pytest.mark.parametrize("given", [by_key, by_bearer])
def test_every_key_leads_to_its_tenant(given) -> None:
    assert [tenant_of(four(), given(f"key-{name}")).name for name in NAMES] == NAMES


def test_a_tenant_has_the_weight_and_the_scopes_of_its_key() -> None:
    tenant = tenant_of(ring(entry("a", "k", ("score",), weight=2.5)), by_key("k"))
    assert tenant == Tenant("a", 2.5, frozenset({"score"}))


@pytest.mark.parametrize("key", ["key-a", "key-b", "key-d", "unknown"])
def test_every_entry_is_compared_in_constant_time_whoever_asks(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    compared, keys, compare = [], four(), hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    try:
        tenant_of(keys, by_key(key))
    except Unauthenticated:
        assert key == "unknown"
    assert compared == [entry(name, f"key-{name}")["sha256"] for name in NAMES]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Basic key-a"},
        {"authorization": "key-a"},
        by_key("key-"),
        by_key("key-aa"),
        by_key("KEY-A"),
        by_key("é\x80"),
        by_key("x" * 60_000),
        by_key(entry("a", "key-a")["sha256"]),
        by_key("unknown") | by_bearer("key-a"),
    ],
)
def test_whatever_is_no_key_of_the_ring_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        tenant_of(four(), headers)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_name_of_the_scheme_has_no_case(scheme: str) -> None:
    assert tenant_of(four(), {"authorization": f"{scheme} key-b"}).name == "b"


def test_a_proxy_may_use_the_other_header_for_itself() -> None:
    assert tenant_of(four(), by_key("key-c") | {"authorization": "Basic abc"}).name == "c"


def test_a_key_rotates_while_both_are_known() -> None:
    old, new = entry("a", "old"), entry("a", "new")
    both = ring(old, new)
    assert tenant_of(both, by_key("old")) == tenant_of(both, by_key("new"))
    with pytest.raises(Unauthenticated):
        tenant_of(ring(new), by_key("old"))


def test_a_key_ends_at_the_very_second_that_it_says() -> None:
    limited = entry("a", "k", expires_at="2030-01-01T00:00:00+01:00")
    moment = 1_893_452_400
    assert tenant_of(ring(limited, now=moment - 1), by_key("k")).name == "a"
    with pytest.raises(Unauthenticated, match="expired at 2030-01-01"):
        tenant_of(ring(limited, now=moment), by_key("k"))


GOOD = entry("a", "k")
BAD_FILES = {
    "empty": (b"", "Invalid JSON"),
    "not-json": (b"{", "Invalid JSON"),
    "not-text": (b"\xff\xfe", "Invalid JSON"),
    "no-list": (GOOD, "valid array"),
    "no-entry": ([], "at least 1"),
    "no-object": ([7], "0: "),
    "same-key-twice": ([GOOD, entry("b", "k")], "2 entries have the sha256"),
    "two-weights": ([entry("a", "k", weight=1), entry("a", "l", weight=2)], "keys of a have the weights 1, 2"),
    "unknown-scope": ([{**GOOD, "scopes": ["generate", "delete"]}], "0.scopes.1: .*'generate', 'score' or 'admin'"),
    "no-scope": ([{**GOOD, "scopes": []}], "0.scopes"),
    "weight-zero": ([{**GOOD, "weight": 0}], "0.weight: .*0.001"),
    "weight-negative": ([{**GOOD, "weight": -1}], "0.weight"),
    "weight-text": ([{**GOOD, "weight": "1"}], "0.weight"),
    "weight-endless": (json.dumps([{**GOOD, "weight": float("inf")}]).encode(), "0.weight"),
    "name-upper": ([entry("Acme", "k")], "0.tenant"),
    "name-path": ([entry("../acme", "k")], "0.tenant"),
    "name-empty": ([entry("", "k")], "0.tenant"),
    "name-long": ([entry("a" * 65, "k")], "0.tenant"),
    "name-line": ([entry("a\n", "k")], "0.tenant"),
    "key-for-hash": ([{**GOOD, "sha256": CANARY}], "0.sha256"),
    "hash-upper": ([{**GOOD, "sha256": GOOD["sha256"].upper()}], "0.sha256"),
    "unknown-field": ([GOOD, {**entry("b", "l"), CANARY: CANARY}], "1: Extra"),
    "missing-field": ([{"tenant": "a", "scopes": ["score"]}], "0.sha256: Field required"),
    "time-without-zone": ([{**GOOD, "expires_at": "2030-01-01T00:00:00"}], "0.expires_at: .*timezone"),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_with_the_place_and_without_what_stands_there(
    tmp_path: Path, content: object, said: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InvalidKeys, match=said) as caught:
        read_keys(path)
    assert str(path) in str(caught.value)
    assert CANARY not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidKeys, match=str(tmp_path / name)):
        read_keys(tmp_path / name)


def test_the_service_does_not_start_with_a_bad_file(tmp_path: Path) -> None:
    path = keys_file(tmp_path, {**GOOD, "sha256": CANARY})
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={"FIVEFOLD_KEYS_FILE": str(path), "FIVEFOLD_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "0.sha256" in line
    assert CANARY not in line


def test_with_keys_it_may_listen_in_public(tmp_path: Path) -> None:
    assert Settings(host="0.0.0.0", keys_file=keys_file(tmp_path, GOOD)).host == "0.0.0.0"
    with pytest.raises(ValueError, match="FIVEFOLD_KEYS_FILE"):
        Settings(host="0.0.0.0")


def test_a_key_is_shown_once_and_its_entry_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert issue(["acme", "--scopes", "score,admin", "--weight", "2", "--expires-at", "2999-01-01T00:00Z"]) == 0
    shown = capsys.readouterr()
    (key,) = shown.out.splitlines()
    assert key.startswith("ff_")
    assert len(key) == 3 + 43  # 32 bytes
    assert key not in shown.err
    assert tenant_of(ring(json.loads(shown.err)), by_key(key)) == Tenant("acme", 2.0, frozenset({"score", "admin"}))


def test_keys_are_appended_to_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.json"
    for name in ("a", "b", "a"):
        assert issue([name, "--scopes", ",".join(KEY_SCOPES), "--append", str(path)]) == 0
    shown = capsys.readouterr()
    keys = shown.out.splitlines()
    assert (len(set(keys)), shown.err) == (3, "")
    assert [tenant_of(read_keys(path), by_key(key)).name for key in keys] == ["a", "b", "a"]
    assert not any(key in path.read_text() for key in keys)
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["Acme", "--scopes", "score"],
        ["acme", "--scopes", "everything"],
        ["acme", "--scopes", ""],
        ["acme", "--scopes", "score", "--weight", "0"],
        ["acme", "--scopes", "score", "--weight", "nan"],
        ["acme", "--scopes", "score", "--expires-at", "tomorrow"],
        ["a", "--scopes", "score", "--weight", "2"],
    ],
)
def test_a_key_that_the_file_could_not_hold_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    path = keys_file(tmp_path, GOOD)
    before = path.read_text()
    assert issue([*arguments, "--append", str(path)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, path.read_text()) == ("", before)
    assert len(shown.err.splitlines()) == 1
