"""Services, policies and pods are of one mind about labels and ports, and nobody else is let in."""

from tests.deploy.objects import WORKLOADS, Object, of_kind, pods, selects


def test_selectors_select(objects: list[Object]) -> None:
    labels = [one for one, _ in pods(objects)]
    for workload in of_kind(objects, *WORKLOADS):
        template, spec = workload["spec"]["template"], workload["spec"]["template"]["spec"]
        spreads = [one["labelSelector"] for one in spec.get("topologySpreadConstraints", ())]
        for selector in (workload["spec"]["selector"], *spreads):
            assert selects(selector, template["metadata"]["labels"])
    selectors = [one["spec"]["selector"] for one in of_kind(objects, "PodDisruptionBudget")]
    selectors += [{"matchLabels": one["spec"]["selector"]} for one in of_kind(objects, "Service")]
    for selector in selectors:
        assert sum(selects(selector, one) for one in labels) == 1


def test_ports_exist_where_they_are_named(objects: list[Object]) -> None:
    for labels, spec in pods(objects):
        ports = {port["name"]: port["containerPort"] for box in spec["containers"] for port in box["ports"]}
        for service in of_kind(objects, "Service"):
            if service["spec"]["selector"].items() <= labels.items():
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
        probes = [probe for box in spec["containers"] for name, probe in box.items() if name.endswith("Probe")]
        asked = [probe.get("httpGet", probe.get("tcpSocket", {})).get("port") for probe in probes]
        assert set(asked) - {None} <= set(ports)


def allowed(objects: list[Object], direction: str, peers: str) -> set[tuple[str, str, int]]:
    """(pod, peer, port) that the network policies of one direction let through; namespaces are peers by name."""
    found = set()
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get(direction, ()):
            chosen = [labels for labels, _ in pods(objects) if selects(policy["spec"]["podSelector"], labels)]
            found |= {
                (labels["app.kubernetes.io/name"], peer, port["port"])
                for labels in chosen
                for one in rule[peers]
                for peer in _peers(objects, one)
                for port in rule["ports"]
            }
    return found


def _peers(objects: list[Object], peer: Object) -> list[str]:
    if "podSelector" in peer:
        return [labels["app.kubernetes.io/name"] for labels, _ in pods(objects) if selects(peer["podSelector"], labels)]
    key = "kubernetes.io/metadata.name"
    known = ("ingress-nginx", "monitoring", "kube-system", "default")
    return [name for name in known if selects(peer["namespaceSelector"], {key: name})]


def test_the_network_lets_through_what_is_needed_and_nothing_else(objects: list[Object]) -> None:
    assert allowed(objects, "ingress", "from") == {
        ("api", "ingress-nginx", 8000),
        ("api", "monitoring", 8000),
        ("worker", "monitoring", 9000),
        ("valkey", "api", 6379),
        ("valkey", "worker", 6379),
    }
    assert allowed(objects, "egress", "to") == {
        (process, *peer) for process in ("api", "worker") for peer in (("valkey", 6379), ("kube-system", 53))
    }
    (deny,) = (one["spec"] for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"] == "default-deny")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
