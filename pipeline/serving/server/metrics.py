"""What the server counts and measures, as Prometheus reads it: https://prometheus.io/docs/instrumenting/exposition_formats/"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One server's metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        its = {"registry": self._registry}
        self._requests = Counter("spanloop_requests", "Requests for predictions.", ["model", "status"], **its)
        self._latency = Histogram(
            "spanloop_request_seconds", "From a request's body to its answer.", ["model"], buckets=SECONDS, **its
        )
        self._rows = Histogram("spanloop_batch_instances", "Instances of a batch.", ["model"], buckets=ROWS, **its)
        self._batches = Histogram(
            "spanloop_batch_seconds", "From sending a batch to its predictions.", ["model"], buckets=SECONDS, **its
        )
        self.uploads = Counter("spanloop_uploads", "Uploads of pictures and notes.", ["status"], **its)
        self.waiting = Gauge("spanloop_queue_instances", "Instances that wait for a model.", ["model"], **its)
        self.share = Gauge("spanloop_traffic_percent", "A model's share of the traffic.", ["model"], **its)
        self.restarts = Counter(
            "spanloop_model_restarts", "Processes of a model that had to be replaced.", ["model"], **its
        )

    def request(self, model: str, status: int, seconds: float) -> None:
        requests, latency = self._of(model, status)
        requests.inc()
        latency.observe(seconds)

    def _of(self, model: str, status: int) -> tuple[Counter, Histogram]:
        """Returns the metrics of requests; looking them up by labels takes longer than counting."""
        if (model, status) not in self._known:
            self._known[model, status] = self._requests.labels(model, str(status)), self._latency.labels(model)
        return self._known[model, status]

    def batch(self, model: str, rows: int, seconds: float) -> None:
        self._rows.labels(model).observe(rows)
        self._batches.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Returns all of them."""
        return generate_latest(self._registry)
