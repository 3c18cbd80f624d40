"""What Prometheus is told at `/metrics`."""

import re
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one service, in a registry of its own, with its memory and open files.

    Args:
        sha256: Of the model.
        preprocessing: Which way pixels were made.
    """

    def __init__(self, *, sha256: str, preprocessing: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        info = {"sha256": sha256, "preprocessing": preprocessing}
        Info("classifier_model", "What is served", registry=registry).info(info)
        self.requests = Counter(
            "classifier_requests", "Requests by route and status code", ["route", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "classifier_request_seconds",
            "From headers to answer",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.queued_images = Gauge(
            "classifier_queue_images", "Images that are worked on or wait for it", registry=registry
        )
        self.batch_size = Histogram(
            "classifier_batch_images", "Images a forward pass", buckets=(1, 2, 4, 8, 12, 16), registry=registry
        )
        self.unreadable = Counter(
            "classifier_unreadable_images", "Images that could not be decoded", ["kind"], registry=registry
        )

    def render(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)

    def count_unreadable(self, reason: str) -> None:
        """Count by the words before the details, of which there are few."""
        self.unreadable.labels(re.split("[:,;]", reason)[0]).inc()


class MetricsMiddleware:
    """Middleware that counts and times requests by the route that answered, never by the address that was asked for.

    Args:
        app: What answers.
        metrics: Where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start_time, status_code = time.perf_counter(), 500

        async def send_wrapper(message: Message) -> None:
            nonlocal status_code
            status_code = message.get("status", status_code)
            await send(message)

        try:
            await self.app(scope, receive, send_wrapper)
        finally:
            if scope["type"] == "http":
                route = getattr(scope.get("route"), "path", "none")
                self.metrics.requests.labels(route, status_code).inc()
                self.metrics.request_seconds.labels(route).observe(time.perf_counter() - start_time)
