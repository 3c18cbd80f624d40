"""The routes: one way to ask, the same under SageMaker's name for it, and what orchestrators want to know."""

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
from cnn_classifier.inference.predictor import Prediction, Predictor
from cnn_classifier.serve.limits import Limits
from cnn_classifier.serve.metrics import MetricsMiddleware
from cnn_classifier.serve.page import render_page
from cnn_classifier.serve.service import Service
from cnn_classifier.serve.uploads import PredictRequest, parse_uploads

FILES_SCHEMA = {"type": "array", "items": {"type": "string", "format": "binary"}}
# What OpenAPI says of a body that takes several forms.
REQUEST_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {"schema": {"type": "object", "properties": {"images": FILES_SCHEMA}}},
        "application/json": {"schema": PredictRequest.model_json_schema()},
    },
}
# What else than 200 and 422 comes back, each with {"detail": why}.
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "No picture could be decoded, or the form is broken"},
    408: {"description": "The request took too long to arrive"},
    413: {"description": "Too many bytes or too many pictures"},
    415: {"description": "Not a kind of content that is taken"},
    503: {"description": "Too much to do; Retry-After says when to come back"},
    504: {"description": "No answer in time"},
}


class PredictResponse(BaseModel):
    """One answer for each picture, in order, and what gave them.

    Args:
        model: SHA-256 of the model.
        preprocessing: Names the way pixels were made.
        predictions: A picture among several that cannot be decoded has an error and no label.
    """

    model: str
    preprocessing: str
    predictions: list[Prediction]


class ModelInfo(BaseModel):
    """What is served, and below which probability and familiarity an answer is `unknown`."""

    model: str
    preprocessing: str
    class_names: list[str]
    threshold: float
    min_similarity: float | None
    version: str = __version__


def get_service(request: Request) -> Service:
    return request.app.state.service


ServiceDep = Annotated[Service, Depends(get_service)]
router = APIRouter()


@router.post(
    "/predict",
    summary="Say what is on pictures",
    openapi_extra={"requestBody": REQUEST_BODY},
    responses=ERROR_RESPONSES,
)
@router.post("/invocations", include_in_schema=False)  # SageMaker
async def predict(
    request: Request,
    service: ServiceDep,
    top_k: Annotated[int, Query(ge=1, le=1000, description="how many classes each answer names")] = 5,
    threshold: Annotated[
        float | None, Query(ge=0, le=1, description="below this probability the label is `unknown`")
    ] = None,
) -> PredictResponse:
    service.check_capacity(1)  # before the body is read
    try:
        async with asyncio.timeout(service.limits.read_timeout):
            images = await parse_uploads(request, service.limits)
    except TimeoutError as error:
        raise HTTPException(408, f"the request did not arrive within {service.limits.read_timeout:g} s") from error
    predictions = await service.predict(images, top_k=top_k, threshold=threshold)
    if all(prediction.error for prediction in predictions):
        raise HTTPException(400, predictions[0].error)
    return PredictResponse(model=service.sha256, preprocessing=service.preprocessing, predictions=predictions)


@router.get("/health", summary="Whether the process is alive")
@router.get("/v2/health/live", include_in_schema=False)  # Open Inference Protocol
async def health() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/ready", summary="Whether the model answers", responses={503: {"description": "Not yet, or no more"}})
@router.get("/v2/health/ready", include_in_schema=False)
@router.get("/ping", include_in_schema=False)  # SageMaker
async def ready(service: ServiceDep) -> ModelInfo:
    if not service.is_ready:
        raise HTTPException(503, "not ready", headers={"Retry-After": "1"})
    return ModelInfo(
        model=service.sha256,
        preprocessing=service.preprocessing,
        class_names=list(service.predictor.class_names),
        threshold=service.threshold,
        min_similarity=service.predictor.metadata.min_similarity,
    )


@router.get("/metrics", summary="Prometheus")
async def metrics(service: ServiceDep) -> Response:
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def index() -> HTMLResponse:
    content, headers = render_page()
    return HTMLResponse(content, headers=headers)


async def handle_client_disconnect(request: Request, error: Exception) -> Response:
    """The client has hung up: nobody reads this, but it is counted, and it is no fault of ours."""
    return Response(status_code=400)


def make_app(
    predictor: Predictor, *, sha256: str, threshold: float | None = None, limits: Limits | None = None
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        predictor: What answers.
        sha256: Of its model.
        threshold: Below this probability the label is `unknown`; None for the model's own.
        limits: What clients may ask for.
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
        docs_url=None,  # Swagger's and ReDoc's pages load scripts from elsewhere
        redoc_url=None,
        max_body_size=limits.max_body_bytes,
        lifespan=lifespan,
        exception_handlers={ClientDisconnect: handle_client_disconnect},
    )
    app.state.service = service
    app.add_middleware(MetricsMiddleware, metrics=service.metrics)
    app.include_router(router)
    return app
