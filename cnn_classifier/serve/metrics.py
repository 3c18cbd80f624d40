"""Prometheus metrics of the service."""

import logging
import re
import time
from urllib.parse import quote

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cnn_classifier.inference.prediction import Prediction

ACCESS_LOG = logging.getLogger("cnn_classifier.access")
LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
MAX_LOGGED_PATH = 200  # characters


class Metrics:
    """The metrics of one service in a separate registry, including process memory and open files.

    Args:
        sha256: The SHA-256 of the model file.
        preprocessing: A hash of the preprocessing settings.
    """

    def __init__(self, *, sha256: str, preprocessing: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        info = {"sha256": sha256, "preprocessing": preprocessing}
        Info("classifier_model", "The served model", registry=registry).info(info)
        self.requests = Counter(
            "classifier_requests", "Requests by route and status code", ["route", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "classifier_request_seconds",
            "Seconds from the request headers to the response",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.queued_images = Gauge("classifier_queue_images", "Images being processed or queued", registry=registry)
        self.batch_size = Histogram(
            "classifier_batch_images", "Images per forward pass", buckets=(1, 2, 4, 8, 12, 16), registry=registry
        )
        self.predictions = Counter(
            "classifier_predictions",
            "Predictions by most probable class and reason of rejection, which is empty for accepted predictions",
            ["label", "rejection_reason"],
            registry=registry,
        )
        self.unreadable = Counter(
            "classifier_unreadable_images", "Images that could not be decoded", ["kind"], registry=registry
        )

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def count_prediction(self, prediction: Prediction) -> None:
        """Count a prediction."""
        self.predictions.labels(prediction.label, prediction.rejection_reason or "").inc()

    def count_unreadable(self, reason: str) -> None:
        """Count an unreadable image by the part of the reason before the details, which has few distinct values."""
        self.unreadable.labels(re.split("[:,;]", reason)[0]).inc()


class MetricsMiddleware:
    """An ASGI middleware that counts and times requests by route, and writes one line per request to `ACCESS_LOG`.

    Requests are not counted by URL, because the number of distinct URLs is unbounded.

    Args:
        app: The wrapped application.
        metrics: The metrics to update.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request and record its route, status code and duration."""
        start_time, status_code = time.perf_counter(), 500

        async def send_wrapper(message: Message) -> None:
            nonlocal status_code
            status_code = message.get("status", status_code)
            await send(message)

        try:
            await self.app(scope, receive, send_wrapper)
        finally:
            if scope["type"] == "http":
                route, seconds = getattr(scope.get("route"), "path", "none"), time.perf_counter() - start_time
                self.metrics.requests.labels(route, status_code).inc()
                self.metrics.request_seconds.labels(route).observe(seconds)
                # The path is quoted, since it may contain line breaks; the query and file names are not logged.
                path = quote(scope["path"])[:MAX_LOGGED_PATH]
                ACCESS_LOG.info("%s %s %d %.1f ms", scope["method"], path, status_code, 1000 * seconds)
