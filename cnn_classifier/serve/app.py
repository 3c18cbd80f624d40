"""The FastAPI application and its routes, including the aliases of SageMaker and the Open Inference Protocol."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from cnn_classifier import __version__
from cnn_classifier.inference.prediction import Prediction
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.serve.limits import Limits
from cnn_classifier.serve.metrics import MetricsMiddleware
from cnn_classifier.serve.page import render_page
from cnn_classifier.serve.page.api_docs import render_docs
from cnn_classifier.serve.service import Service
from cnn_classifier.serve.uploads import PredictRequest, parse_uploads

FILES_SCHEMA = {"type": "array", "items": {"type": "string", "format": "binary"}}
# The OpenAPI description of a request body with several content types.
REQUEST_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {"schema": {"type": "object", "properties": {"images": FILES_SCHEMA}}},
        "application/json": {"schema": PredictRequest.model_json_schema()},
    },
}
# Status codes other than 200 and 422, each with a body {"detail": reason}.
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "No image could be decoded, or the form is malformed"},
    408: {"description": "The request was not received in time"},
    413: {"description": "The request body is too large, or contains too many images"},
    415: {"description": "Unsupported content type or encoding"},
    503: {"description": "The queue is full; retry after the seconds in the Retry-After header"},
    504: {"description": "The prediction was not completed in time"},
}


class PredictResponse(BaseModel):
    """The response of `/predict`.

    Args:
        model: The SHA-256 of the model file.
        preprocessing: A hash of the preprocessing settings.
        predictions: The prediction of each image, in request order. An image that cannot be decoded has an error and
            no label.
    """

    model: str
    preprocessing: str
    predictions: list[Prediction]


class ModelInfo(BaseModel):
    """The response of `/ready`.

    Args:
        model: The SHA-256 of the model file.
        preprocessing: A hash of the preprocessing settings.
        class_names: The class names in label order.
        threshold: The minimum probability of a prediction that is not rejected.
        min_similarity: The minimum similarity of a prediction that is not rejected. None if the model has no
            reference features.
        version: The version of cnn_classifier.
    """

    model: str
    preprocessing: str
    class_names: list[str]
    threshold: float
    min_similarity: float | None
    version: str = __version__


def get_service(request: Request) -> Service:
    """Return the service of the application, as a FastAPI dependency."""
    return request.app.state.service


ServiceDep = Annotated[Service, Depends(get_service)]
router = APIRouter()


@router.post(
    "/predict",
    summary="Classify images",
    openapi_extra={"requestBody": REQUEST_BODY},
    responses=ERROR_RESPONSES,
)
@router.post("/invocations", include_in_schema=False)  # SageMaker
async def predict(
    request: Request,
    service: ServiceDep,
    top_k: Annotated[int, Query(ge=1, le=1000, description="Number of most probable classes to return")] = 5,
    threshold: Annotated[
        float | None, Query(ge=0, le=1, description="Reject predictions below this probability")
    ] = None,
) -> PredictResponse:
    """Return the predictions of the images in a request."""
    service.check_capacity(1)  # before the body is read
    try:
        async with asyncio.timeout(service.limits.read_timeout):
            images = await parse_uploads(request, service.limits)
    except TimeoutError as error:
        raise HTTPException(408, f"The request was not received within {service.limits.read_timeout:g} s.") from error
    predictions = await service.predict(images, top_k=top_k, threshold=threshold)
    if all(prediction.error for prediction in predictions):
        raise HTTPException(400, predictions[0].error)
    return PredictResponse(model=service.sha256, preprocessing=service.preprocessing, predictions=predictions)


@router.get("/health", summary="Liveness check")
@router.get("/v2/health/live", include_in_schema=False)  # Open Inference Protocol
async def health() -> dict[str, str]:
    """Return 200 while the process runs."""
    return {"status": "alive"}


@router.get("/ready", summary="Readiness check", responses={503: {"description": "Starting or stopped"}})
@router.get("/v2/health/ready", include_in_schema=False)
@router.get("/ping", include_in_schema=False)  # SageMaker
async def ready(service: ServiceDep) -> ModelInfo:
    """Return the model information while the service accepts requests, else 503."""
    if not service.is_ready:
        raise HTTPException(503, "The service is not ready.", headers={"Retry-After": "1"})
    return ModelInfo(
        model=service.sha256,
        preprocessing=service.preprocessing,
        class_names=list(service.predictor.class_names),
        threshold=service.predictor.metadata.threshold if service.threshold is None else service.threshold,
        min_similarity=service.predictor.metadata.min_similarity,
    )


@router.get("/metrics", summary="Metrics in the Prometheus text format")
async def metrics(service: ServiceDep) -> Response:
    """Return the metrics of the service."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def index() -> HTMLResponse:
    """Return the web page."""
    content, headers = render_page()
    return HTMLResponse(content, headers=headers)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Return the API reference."""
    content, headers = render_docs(request.app.openapi(), str(request.base_url))
    return HTMLResponse(content, headers=headers)


async def handle_client_disconnect(request: Request, error: Exception) -> Response:
    """Return 400, which no client receives, so that metrics do not count a disconnect as a server error."""
    return Response(status_code=400)


def make_app(
    predictor: Predictor, *, sha256: str, threshold: float | None = None, limits: Limits | None = None
) -> FastAPI:
    """Create the service as an ASGI application.

    Args:
        predictor: The predictor of the model.
        sha256: The SHA-256 of the model file.
        threshold: The minimum probability of a prediction that is not rejected. None uses the threshold of the model.
        limits: The limits on requests. None uses the defaults.
    """
    limits = limits or Limits()
    service = Service(predictor, sha256=sha256, threshold=threshold, limits=limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.lifespan():
            yield

    app = FastAPI(
        title="cnn_classifier",
        version=__version__,
        description=f"Classes: {', '.join(predictor.class_names)}",
        docs_url=None,  # the Swagger and ReDoc pages load scripts from a CDN, unlike `docs` above
        redoc_url=None,
        max_body_size=limits.max_body_bytes,
        lifespan=lifespan,
        exception_handlers={ClientDisconnect: handle_client_disconnect},
    )
    app.state.service = service
    app.add_middleware(MetricsMiddleware, metrics=service.metrics)
    app.include_router(router)
    return app
