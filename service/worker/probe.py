"""A worker's only HTTP: /healthz/live, /healthz/ready and /metrics, in a thread of its own."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from service.settings import Settings
from service.telemetry import Metrics
from service.worker.loop import Worker


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 5  # a client that says nothing does not keep its thread

    def log_message(self, *arguments: object) -> None:
        """Probes come every few seconds: they are not news."""


@contextmanager
def probe(settings: Settings, worker: Worker, metrics: Metrics) -> Iterator[int]:
    """Answer while inside; gives the port. Without a `probe_port` nothing listens."""
    if settings.probe_port is None:
        yield 0
        return
    app = _app(worker, metrics)
    with make_server(settings.probe_host, settings.probe_port, app, _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="probe")
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _app(worker: Worker, metrics: Metrics) -> Any:
    prometheus = make_wsgi_app(metrics.worker_registry)
    checks = {"/healthz/live": lambda: not worker.hung, "/healthz/ready": lambda: worker.ready}

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = prometheus(environ, start_response)
            return answer
        good = path in checks and checks[path]()
        status = "200 OK" if good else "503 Service Unavailable" if path in checks else "404 Not Found"
        start_response(status, [("content-type", "text/plain")])
        return [f"{status}\n".encode()]

    return app
