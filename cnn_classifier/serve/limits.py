"""Limits of the service: request size, queue length and timeouts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of the service.

    Args:
        max_body_bytes: The maximum size of a request body in bytes. SageMaker and Lambda accept 6 MiB, and phone
            photos have 2 to 8 MiB.
        max_pixels: The maximum number of pixels of an image, read from its header before decoding.
        max_images: The maximum number of images per request.
        max_queued: The maximum number of images being processed or queued. Further requests receive 503.
        max_batch_size: The maximum number of images per forward pass.
        batch_wait: The maximum time that an image waits for images being decoded, in seconds.
        read_timeout: The maximum time to receive a request, in seconds, before it receives 408.
        response_timeout: The maximum time to compute a response, in seconds, before the request receives 504.
        max_connections: The maximum number of open connections.
        keep_alive_timeout: The time that an idle connection stays open, in seconds.
        shutdown_timeout: The time to finish pending requests after SIGTERM, in seconds. Orchestrators send SIGKILL
            after 30 seconds.
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
