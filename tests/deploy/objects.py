"""The Kubernetes objects: as they are written, and as `kubectl apply -k` would send them."""

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.readme import ROOT

Object = dict[str, Any]
FOLDER = ROOT / "deploy" / "kubernetes"
WORKLOADS = ("Deployment", "StatefulSet")


@functools.cache
def rendered(overlay: str) -> list[Object]:
    """The objects of one overlay, from a copy with a password of its own. Skips the test where kubectl is missing."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here: the overlays are not rendered")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "kubernetes"
        shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("secrets"))
        make_secrets(copy / "base" / "secrets")
        command = ["kubectl", "kustomize", str(copy / "overlays" / overlay)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@functools.cache
def written() -> list[Object]:
    """The objects of the base as they stand in its files, and those that it generates, by name."""
    plan = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())
    files = [(FOLDER / "base" / name).read_text() for name in plan["resources"]]
    generated = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": each["name"]}}
        for kind, generator in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator"))
        for each in plan[generator]
    ]
    return [*(one for text in files for one in yaml.safe_load_all(text)), *generated]


def make_secrets(folder: Path) -> None:
    """The files that docs/deployment.md asks for: a password, and the keys of the API."""
    subprocess.run(["make", "-s", f"{folder}/fivefold_redis_url"], cwd=ROOT, check=True)
    key = ["key", "acme", "--scopes", "generate,score", "--append", str(folder / "fivefold_keys")]
    subprocess.run([sys.executable, "-m", "service", *key], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """(labels, spec) of the pods of every workload."""
    for workload in of_kind(objects, *WORKLOADS):
        template = workload["spec"]["template"]
        yield template["metadata"]["labels"], template["spec"]


def selects(selector: Object, labels: Object) -> bool:
    """Whether a label selector (matchLabels and In) matches."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ()))


def names(objects: list[Object], *kinds: str) -> set[str]:
    return {one["metadata"]["name"] for one in of_kind(objects, *kinds)}
