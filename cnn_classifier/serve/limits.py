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

    body: int = 10 * 2**20
    pixels: int = 50_000_000
    images: int = 16
    queue: int = 64
    batch: int = 16
    wait: float = 0.005
    arrival: float = 30.0
    answer: float = 30.0
    connections: int = 256
    keep_alive: int = 5
    shutdown: int = 25
