"""The pods: confined, configured by variables that exist, scaled."""

from typing import Any

import pytest

from service.settings import Settings
from tests.deploy.objects import Object, names, of_kind, pods, rendered


def test_every_pod_is_confined(objects: list[Object]) -> None:
    for labels, spec in pods(objects):
        user = 999 if labels["app.kubernetes.io/name"] == "valkey" else 10001
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": user, "fsGroup": user}.items()
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for box in spec["containers"]:
            assert box["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert box["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in box["resources"]["limits"]
            assert box.keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}


def test_every_image_has_a_version(objects: list[Object], version: str) -> None:
    for labels, spec in pods(objects):
        (image,) = (box["image"] for box in spec["containers"])
        tag = "8" if labels["app.kubernetes.io/name"] == "valkey" else version
        assert image.rpartition(":")[2] == tag


def test_references_exist(objects: list[Object]) -> None:
    for _, spec in pods(objects):
        secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        sources = [one for volume in spec["volumes"] for one in volume.get("projected", {}).get("sources", ())]
        secrets |= {source["secret"]["name"] for source in sources}
        assert secrets
        maps = {one["configMapRef"]["name"] for box in spec["containers"] for one in box.get("envFrom", ())}
        volumes = {volume["name"] for volume in spec["volumes"]}
        claims = {
            claim["metadata"]["name"]
            for one in of_kind(objects, "StatefulSet")
            for claim in one["spec"]["volumeClaimTemplates"]
        }
        assert secrets <= names(objects, "Secret")
        assert maps <= names(objects, "ConfigMap")
        assert {mount["name"] for box in spec["containers"] for mount in box["volumeMounts"]} <= volumes | claims
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in names(objects, "Deployment")


def environment(objects: list[Object], spec: Object) -> dict[str, str]:
    """A pod's variables; the shared ones stand in the rendered ConfigMap."""
    variables = {one["name"]: one["value"] for box in spec["containers"] for one in box.get("env", ())}
    for one in of_kind(objects, "ConfigMap"):
        variables |= one.get("data", {})
    return variables


def test_every_variable_is_a_setting_and_together_they_are_accepted(
    objects: list[Object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for labels, spec in pods(objects):
        if labels["app.kubernetes.io/name"] == "valkey":
            continue
        variables = environment(objects, spec)
        assert {name.removeprefix("FIVEFOLD_").lower() for name in variables} <= set(Settings.model_fields)
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            settings = Settings()
        hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
        left = spec["terminationGracePeriodSeconds"] - hook["sleep"]["seconds"]
        assert left >= settings.shutdown_seconds + 5, "nobody is killed while it finishes its rows"


def test_what_is_scaled_has_no_number_of_its_own(objects: list[Object]) -> None:
    assert all("replicas" not in one["spec"] for one in of_kind(objects, "Deployment"))


def test_the_workers_are_scaled_by_the_seconds_of_work_that_wait(objects: list[Object]) -> None:
    """The fields of keda.sh/v1alpha1, for which the validator has no schema."""
    (scaled,) = of_kind(objects, "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    spec: dict[str, Any] = scaled["spec"]
    assert set(spec) <= {
        "scaleTargetRef",
        "pollingInterval",
        "cooldownPeriod",
        "minReplicaCount",
        "maxReplicaCount",
        "fallback",
        "advanced",
        "triggers",
    }
    assert spec["fallback"].keys() == {"failureThreshold", "replicas", "behavior"}
    assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"], "a model without a worker is not ready"
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold", "ignoreNullValues"}
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert "fivefold_queued_seconds" in trigger["metadata"]["query"]


def test_only_the_gpu_overlay_asks_for_a_gpu() -> None:
    limits = {}
    for overlay in ("cpu", "gpu"):
        found = {labels["app.kubernetes.io/name"]: spec for labels, spec in pods(rendered(overlay))}
        limits[overlay] = found["worker"]["containers"][0]["resources"]["limits"]
    assert "nvidia.com/gpu" not in limits["cpu"]
    assert limits["gpu"]["nvidia.com/gpu"] == 1
