"""What the wheel promises: its names, one method per operation, its types, and two dependencies."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from mypy import api as mypy
from pydantic import BaseModel

import fivefold
from fivefold.diffusion import DiffusionSampleRequest
from fivefold.methods import Method, Methods
from fivefold.operation import AnyOperation

ROOT = Path(__file__).parents[2]
MODULES = [importlib.import_module(f"fivefold.{module.name}") for module in pkgutil.iter_modules(fivefold.__path__)]
OPERATIONS: list[AnyOperation] = [one for module in MODULES for one in getattr(module, "OPERATIONS", ())]
METHODS = {name: method for name, method in vars(Methods).items() if isinstance(method, Method)}


def test_everything_public_is_exported_and_everything_exported_is_there() -> None:
    public = {name for name, value in vars(fivefold).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public | {"errors", "__version__"} == set(fivefold.__all__)
    assert sorted(fivefold.__all__) == fivefold.__all__


def test_the_version_is_the_one_of_the_project() -> None:
    assert fivefold.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_there_is_one_named_method_for_every_operation() -> None:
    named = {f"{operation.family}_{operation.name}".replace("-", "_"): operation for operation in OPERATIONS}
    assert OPERATIONS
    assert {name: method.operation for name, method in METHODS.items()} == named


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_takes_the_arguments_of_its_own_request(method: "Method[..., BaseModel, BaseModel]") -> None:
    assert method.request is method.operation.request


def test_help_on_a_method_shows_its_arguments_and_what_it_does() -> None:
    with fivefold.Client() as client:
        arguments = set(inspect.signature(client.diffusion_sample).parameters)
        assert arguments == set(DiffusionSampleRequest.model_fields)
        assert inspect.getdoc(client.diffusion_sample) == "Sample images of a class, with previews of every step"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.path)
def test_an_example_is_a_valid_request(operation: AnyOperation) -> None:
    operation.request.model_validate(operation.example)


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    def surface(client: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters) for name, one in functions if name[0] != "_"}

    assert surface(fivefold.Client) == surface(fivefold.AsyncClient)
    assert set(METHODS) <= set(dir(fivefold.Client)) & set(dir(fivefold.AsyncClient))


def test_types_of_arguments_and_answers_are_known_to_the_checker() -> None:
    report, complaints, status = mypy.run(["--strict", str(Path(__file__).with_name("typed_methods.py"))])
    assert status == 0, report + complaints


ALONE = """
import sys
allowed = set(sys.stdlib_module_names) | {
    "fivefold", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection",
    "httpx", "httpcore", "h11", "anyio", "certifi", "idna", "sniffio",
}
class OnlyThese:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, OnlyThese())
import importlib, pkgutil, fivefold
for module in pkgutil.iter_modules(fivefold.__path__):
    if module.name not in ("__main__", "cli"):
        importlib.import_module("fivefold." + module.name)
fivefold.Client().close()
try:
    import numpy
except ModuleNotFoundError:
    print("alone")
"""


def test_the_sdk_works_where_pydantic_and_httpx_alone_are_installed() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("alone\n", "")
