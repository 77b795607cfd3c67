"""What cannot work is refused at the start, with both numbers and the way out, and no password."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from service.settings import Settings

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"lease_seconds": 1.0, "heartbeat_seconds": 0.5}, r"lease_seconds 1 is less than three heartbeats of 0\.5 s"),
        ({"redis_url": f"http://:{SECRET}@queue:6379"}, r"give the address of a server: redis://"),
        ({"host": "0.0.0.0"}, "is not a loopback address and there are no API keys"),
        ({"max_attempts": 0}, "greater than or equal to 1"),
    ],
)
def test_a_bad_setting_is_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        Settings(**knobs)
    assert SECRET not in str(refused.value)


def test_the_queues_password_is_not_shown() -> None:
    settings = Settings(redis_url=f"redis://:{SECRET}@queue:6379/0")
    assert SECRET not in f"{settings!r} {settings}"


@pytest.mark.parametrize("command", ["api", "worker"])
def test_half_a_service_needs_a_queue_between_machines(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", "service", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{command} alone needs the queue between machines: --redis redis://HOST:6379/0" in done.stderr
