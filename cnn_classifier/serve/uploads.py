"""Parsing of image uploads from raw, multipart and JSON request bodies, in memory."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cnn_classifier.serve.limits import Limits

# Generic content types that SageMaker, plain HTTP clients and MXNet send for images.
BINARY_TYPES = ("application/octet-stream", "application/x-image", "binary/octet-stream")
ACCEPTED_FORMS = "one image as the body (image/*), several as multipart/form-data, or JSON {'images': [base64, …]}"
MAX_FORM_FIELDS = 8  # fields without a file, which are ignored


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Args:
        name: The file name that the client sent, if any.
        data: The bytes of the file.
    """

    name: str | None
    data: bytes


Base64 = Annotated[bytes, WithJsonSchema({"type": "string", "contentEncoding": "base64"})]


class PredictRequest(BaseModel):
    """The JSON request body. Each image is a file in base64."""

    model_config = ConfigDict(val_json_bytes="base64")
    images: Annotated[list[Base64], Field(min_length=1)]


async def parse_uploads(request: Request, limits: Limits) -> list[Upload]:
    """Read the images of a request.

    Args:
        request: The request.
        limits: The limits on the body size and the number of images.

    Returns:
        The uploaded files, at least one.

    Raises:
        HTTPException: 400 for a malformed form, 413 for too many images, 415 for an unsupported content type or
            encoding, 422 for a request without images.
    """
    content_type = request.headers.get("content-type", BINARY_TYPES[0]).partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":  # decompression needs unbounded memory, and images are compressed already
        raise HTTPException(415, f"Unsupported content-encoding {encoding[:40]!r}. Send the image uncompressed.")
    if content_type == "multipart/form-data":
        files = await parse_form(request, limits)
    elif content_type == "application/json":
        files = parse_json(await request.body())
    elif content_type.startswith("image/") or content_type in BINARY_TYPES:
        files = [Upload(None, await request.body())]
    else:
        raise HTTPException(415, f"Unsupported content-type {content_type[:80]!r}. Send {ACCEPTED_FORMS}.")
    if len(files) > limits.max_images:
        raise HTTPException(413, f"Too many images: {len(files)}. Send at most {limits.max_images} per request.")
    return files


async def parse_form(request: Request, limits: Limits) -> list[Upload]:
    """Return the files of a multipart form, regardless of their field names."""
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=limits.max_images, max_fields=MAX_FORM_FIELDS, max_part_size=2**16
    )
    parser.spool_max_size = (
        limits.max_body_bytes
    )  # never spool to disk: the body size is limited, and a container may be read-only
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(413 if "Too many files" in error.message else 400, error.message) from error
    except ValueError as error:  # the charset is a Python codec that is not a text encoding
        raise HTTPException(400, "Cannot decode the form.") from error
    files = [
        Upload(drop_surrogates(part.filename), part.file.read())
        for _, part in form.multi_items()
        if isinstance(part, UploadFile)
    ]
    await form.close()
    if not files:
        raise HTTPException(422, f"The form contains no file. Send {ACCEPTED_FORMS}.")
    return files


def parse_json(body: bytes) -> list[Upload]:
    """Return the files of a JSON request body."""
    try:
        return [Upload(None, data) for data in PredictRequest.model_validate_json(body).images]
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
        location = ".".join(map(str, detail["loc"])) or "body"
        raise HTTPException(
            422, f"Invalid JSON request, {location}: {detail['msg']}. Send {ACCEPTED_FORMS}."
        ) from error


def drop_surrogates(name: str | None) -> str | None:
    """Replace lone surrogates, which some charsets produce and JSON cannot encode."""
    return name.encode("utf-8", "replace").decode() if name else None
