"""The pictures in a request, in every form that clients send them; none of it touches the disk."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cnn_classifier.serve.limits import Limits

# What clients say who do not know: SageMaker, plain HTTP clients, and MXNet's old name for a picture.
BINARY_TYPES = ("application/octet-stream", "application/x-image", "binary/octet-stream")
ACCEPTED_FORMS = "one picture as the body (image/*), several as multipart/form-data, or JSON {'images': [base64, …]}"
MAX_FORM_FIELDS = 8  # without a file; they are not looked at


@dataclass(frozen=True)
class Upload:
    """One file as it came.

    Args:
        name: What the client calls it.
        data: Its bytes.
    """

    name: str | None
    data: bytes


class PredictRequest(BaseModel):
    """The JSON form; each image is a whole file in base64."""

    model_config = ConfigDict(val_json_bytes="base64")
    images: Annotated[list[bytes], Field(min_length=1)]


async def parse_uploads(request: Request, limits: Limits) -> list[Upload]:
    """The pictures of a request, at least one.

    Raises:
        HTTPException: 400 for a broken form, 413 for too many pictures, 415 for a kind that is not taken, 422 where
            there is no picture.
    """
    content_type = request.headers.get("content-type", BINARY_TYPES[0]).partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":  # unpacking could take any amount of memory, and pictures are packed already
        raise HTTPException(415, f"content-encoding {encoding[:40]!r} is not taken; send the picture as it is")
    if content_type == "multipart/form-data":
        files = await parse_form(request, limits)
    elif content_type == "application/json":
        files = parse_json(await request.body())
    elif content_type.startswith("image/") or content_type in BINARY_TYPES:
        files = [Upload(None, await request.body())]
    else:
        raise HTTPException(415, f"content-type {content_type[:80]!r} is not taken; send {ACCEPTED_FORMS}")
    if len(files) > limits.max_images:
        raise HTTPException(413, f"{len(files)} pictures are too many; send at most {limits.max_images} at once")
    return files


async def parse_form(request: Request, limits: Limits) -> list[Upload]:
    """The files of a form, whatever their fields are called."""
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=limits.max_images, max_fields=MAX_FORM_FIELDS, max_part_size=2**16
    )
    parser.spool_max_size = limits.max_body_bytes  # in memory: the body is bounded, and a container may have no disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(413 if "Too many files" in error.message else 400, error.message) from error
    except ValueError as error:  # a charset of Python's that is none
        raise HTTPException(400, "the form cannot be read") from error
    files = [
        Upload(drop_surrogates(part.filename), part.file.read())
        for _, part in form.multi_items()
        if isinstance(part, UploadFile)
    ]
    await form.close()
    if not files:
        raise HTTPException(422, f"the form holds no file; send {ACCEPTED_FORMS}")
    return files


def parse_json(body: bytes) -> list[Upload]:
    """The files of a JSON object."""
    try:
        return [Upload(None, data) for data in PredictRequest.model_validate_json(body).images]
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
        location = ".".join(map(str, detail["loc"])) or "the body"
        raise HTTPException(422, f"{location}: {detail['msg']}; send {ACCEPTED_FORMS}") from error


def drop_surrogates(name: str | None) -> str | None:
    """Without lone surrogates, which some charsets make and no JSON carries."""
    return name.encode("utf-8", "replace").decode() if name else None
