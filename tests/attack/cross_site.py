"""What a web page of another site makes a browser send to a service without keys."""

from tests.attack.scenario import Outcome, Scenario
from tests.attack.target import Target

FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def requests_of_a_page(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.client() as http:
        for path in ("/v1/admin/drain", "/v1/admin/models/flow-shuttle/unload", "/v1/flow/sample"):
            for headers in (FOREIGN, FOREIGN | FORM, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
                outcome.add(http.post(path, headers=headers).status_code)
        outcome.add(http.post("/v1/flow/sample", json={"model": "flow-shuttle"}, headers=FOREIGN).status_code)
    return outcome


def requests_to_a_rebound_name(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.client(headers={"host": f"evil.example:{target.port}"}) as http:
        for method, path in (("GET", "/v1/jobs"), ("GET", "/v1/models"), ("POST", "/v1/admin/drain")):
            outcome.add(http.request(method, path).status_code)
    return outcome


SCENARIOS = [
    Scenario("cross-site", "requests of another site's page", requests_of_a_page, frozenset({403})),
    Scenario("cross-site", "requests to a rebound host name", requests_to_a_rebound_name, frozenset({403})),
]
