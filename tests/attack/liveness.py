"""`python -m tests.attack.liveness PORT`: the slowest /healthz/live until standard input ends.

A process of its own: what the attacker computes does not slow its clock.
"""

import http.client
import select
import sys
import time

PAUSE_SECONDS, LONGEST_SECONDS = 0.03, 120.0


def slowest_seconds(port: int) -> float:
    """Each request has a connection of its own, as those of most probes. One without an answer counts as infinite."""
    slowest = 0.0
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        slowest = max(slowest, _seconds(port))
    return max(slowest, _seconds(port))


def _seconds(port: int) -> float:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_SECONDS)
    try:
        connection.request("GET", "/healthz/live")
        good = connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        good = False
    finally:
        connection.close()
    return time.perf_counter() - began if good else float("inf")


if __name__ == "__main__":
    print(slowest_seconds(int(sys.argv[1])))
