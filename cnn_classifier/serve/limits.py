"""What clients may ask for, and how long anybody waits: one place, so that nothing grows without a bound."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the service; a test goes beyond each of them.

    Args:
        body: Bytes of one request. SageMaker and Lambda take 6 MiB, photos of a phone have 2 to 8.
        pixels: Of one image, looked up in its header before anything is decoded.
        images: In one request.
        queue: Images that are worked on or wait for it; more are turned away with 503.
        batch: Images a forward pass.
        wait: Seconds that an image waits for others which are being decoded.
        arrival: Seconds for a request to arrive, then 408.
        answer: Seconds for its answer, then 504.
        connections: Open at once.
        keep_alive: Seconds that a connection stays open without a request.
        shutdown: Seconds that requests in flight get after SIGTERM; orchestrators kill after 30.
    """

    max_body_bytes: int = 10 * 2**20
    max_pixels: int = 50_000_000
    max_images: int = 16
    max_queued: int = 64
    max_batch_size: int = 16
    batch_wait: float = 0.005
    read_timeout: float = 30.0
    response_timeout: float = 30.0
    max_connections: int = 256
    keep_alive_timeout: int = 5
    shutdown_timeout: int = 25
