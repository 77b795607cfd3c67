"""The key of the SDK and of the command line: sent to the service, and shown to nobody."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import good, refused
from keyed import entry, keys_file
from served import serving
from toy import COUNT, SCALE, ToyCountRequest, ToyScaleRequest

from fivefold import AsyncClient, Client
from fivefold.cli.options import connect
from fivefold.errors import FivefoldError, Forbidden, InvalidInput, Unauthenticated
from model_store.store import Store

KEY, VARIABLE = "ff_canary-of-the-sdk", "FIVEFOLD_API_KEY"
ROW = ToyScaleRequest(rows=[[0.0, 1.0, 2.0, 3.0]])


@pytest.fixture
def url(toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service that knows one key, which may score."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with serving(toy_store, keys_file=keys_file(tmp_path, entry("acme", KEY, ("score",)))) as service:
        yield service.url


async def outcomes(url: str, api_key: str | None) -> list[object]:
    """What scoring, generating, streaming and listing come to, the same for both clients."""
    with Client(url, api_key=api_key) as client:
        blocking = [
            outcome(lambda: client.call(SCALE, ROW).results),
            outcome(lambda: client.call(COUNT, ToyCountRequest(seed=1)).results),
            outcome(lambda: list(client.stream(COUNT, ToyCountRequest(seed=1)))),
            outcome(client.models),
        ]
    async with AsyncClient(url, api_key=api_key) as client:
        awaited = [
            await outcome_of(client.call(SCALE, ROW)),
            await outcome_of(client.call(COUNT, ToyCountRequest(seed=1))),
            await outcome_of(anext(aiter(client.stream(COUNT, ToyCountRequest(seed=1))))),
            await outcome_of(client.models()),
        ]
    assert blocking == awaited
    return blocking


def outcome(act) -> object:
    try:
        act()
    except FivefoldError as error:
        return type(error)
    return "good"


async def outcome_of(act) -> object:
    try:
        await act
    except FivefoldError as error:
        return type(error)
    return "good"


async def test_both_clients_send_the_key_that_they_are_given(url: str) -> None:
    assert await outcomes(url, KEY) == ["good", Forbidden, Forbidden, "good"]
    for key in (None, "", "ff_wrong"):
        assert await outcomes(url, key) == [Unauthenticated] * 4


async def test_the_key_of_the_environment_is_what_is_sent_by_default(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    assert (await outcomes(url, None))[0] == "good"
    assert (await outcomes(url, "ff_wrong"))[0] == (await outcomes(url, ""))[0] == Unauthenticated


def test_a_service_with_keys_tells_without_one_whether_it_is_ready(url: str) -> None:
    with Client(url) as client:
        assert client.ready()


def test_the_command_line_takes_the_key_from_the_environment_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVEFOLD_URL", url)
    assert refused("models", exit_code=1).startswith("unauthenticated: no key given")
    monkeypatch.setenv(VARIABLE, KEY)
    assert "toy-affine" in good("models").stdout
    monkeypatch.setenv(VARIABLE, KEY + "\n")
    assert KEY not in refused("models")


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY} x", f"{KEY}\x00", f"{KEY}é", f"{KEY}\r\nx-y: z"])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_cannot_be_a_key_is_refused_and_not_quoted(client: type, key: str) -> None:
    with pytest.raises(InvalidInput, match=VARIABLE) as caught:
        client(api_key=key)
    assert KEY not in str(caught.value)


async def test_no_key_is_ever_shown(url: str) -> None:
    client, awaited = Client(url, api_key=KEY), AsyncClient(url, api_key=KEY)
    shown = [repr(client), str(client), repr(awaited), repr(client.flow_sample), repr(connect(url))]
    for act in (lambda: client.call(COUNT, ToyCountRequest()), Client("http://127.0.0.1:1", api_key=KEY).models):
        with pytest.raises(FivefoldError) as caught:
            act()
        shown += [repr(caught.value), *traceback.format_exception(caught.value)]
    client.close()
    await awaited.close()
    assert not [text for text in shown if KEY in text]
