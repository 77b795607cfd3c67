"""The Kubernetes files: valid objects, nothing missing, a password of one's own."""

import stat
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.objects import FOLDER, Object, make_secrets, of_kind, written

OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid(objects: list[Object], version: str) -> None:
    known = [one for one in objects if one["kind"] != "ScaledObject"]
    assert len(known) >= 15
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_check_refuses_a_field_that_does_not_exist() -> None:
    (service, *_) = of_kind(written(), "Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "selektor": {}}}, NEWEST, strict=True)


def test_every_file_a_kustomization_names_exists(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    plans = sorted(FOLDER.rglob("kustomization.yaml"))
    assert len(plans) >= 3
    for path in plans:
        plan = yaml.safe_load(path.read_text())
        patches = [patch["path"] for patch in plan.get("patches", ())]
        secrets = [name for generator in plan.get("secretGenerator", ()) for name in generator["files"]]
        assert all((path.parent / name).exists() for name in (*plan.get("resources", ()), *patches))
        assert all((tmp_path / name).exists() for name in secrets)


def test_the_password_is_random_and_the_same_for_the_queue_and_its_clients(tmp_path: Path) -> None:
    passwords = set()
    for number in "12":
        folder = tmp_path / number / "secrets"
        make_secrets(folder)
        word, password = (folder / "valkey_conf").read_text().split()
        assert (word, len(password)) == ("requirepass", 64)
        assert (folder / "fivefold_redis_url").read_text() == f"redis://:{password}@valkey:6379/0\n"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        passwords.add(password)
    assert len(passwords) == 2
