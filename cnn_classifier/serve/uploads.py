"""The pictures in a request, in every form that clients send them; none of it touches the disk."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cnn_classifier.serve.limits import Limits

# What clients say who do not know: SageMaker, plain HTTP clients, and MXNet's old name for a picture.
RAW = ("application/octet-stream", "application/x-image", "binary/octet-stream")
FORMS = "one picture as the body (image/*), several as multipart/form-data, or JSON {'images': [base64, …]}"
MAX_FIELDS = 8  # without a file; they are not looked at


@dataclass(frozen=True)
class Upload:
    """One file as it came.

    Args:
        name: What the client calls it.
        data: Its bytes.
    """

    name: str | None
    data: bytes


class Images(BaseModel):
    """The JSON form; each image is a whole file in base64."""

    model_config = ConfigDict(val_json_bytes="base64")
    images: Annotated[list[bytes], Field(min_length=1)]


async def uploads(request: Request, limits: Limits) -> list[Upload]:
    """The pictures of a request, at least one.

    Raises:
        HTTPException: 400 for a broken form, 413 for too many pictures, 415 for a kind that is not taken, 422 where
            there is no picture.
    """
    kind = request.headers.get("content-type", RAW[0]).partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":  # unpacking could take any amount of memory, and pictures are packed already
        raise HTTPException(415, f"content-encoding {encoding[:40]!r} is not taken; send the picture as it is")
    if kind == "multipart/form-data":
        found = await from_form(request, limits)
    elif kind == "application/json":
        found = from_json(await request.body())
    elif kind.startswith("image/") or kind in RAW:
        found = [Upload(None, await request.body())]
    else:
        raise HTTPException(415, f"content-type {kind[:80]!r} is not taken; send {FORMS}")
    if len(found) > limits.images:
        raise HTTPException(413, f"{len(found)} pictures are too many; send at most {limits.images} at once")
    return found


async def from_form(request: Request, limits: Limits) -> list[Upload]:
    """The files of a form, whatever their fields are called."""
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=limits.images, max_fields=MAX_FIELDS, max_part_size=2**16
    )
    parser.spool_max_size = limits.body  # in memory: the body is bounded, and a container may have no disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(413 if "Too many files" in error.message else 400, error.message) from error
    except ValueError as error:  # a charset of Python's that is none
        raise HTTPException(400, "the form cannot be read") from error
    found = [
        Upload(legible(part.filename), part.file.read())
        for _, part in form.multi_items()
        if isinstance(part, UploadFile)
    ]
    await form.close()
    if not found:
        raise HTTPException(422, f"the form holds no file; send {FORMS}")
    return found


def from_json(body: bytes) -> list[Upload]:
    """The files of a JSON object."""
    try:
        return [Upload(None, data) for data in Images.model_validate_json(body).images]
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, told["loc"])) or "the body"
        raise HTTPException(422, f"{where}: {told['msg']}; send {FORMS}") from error


def legible(name: str | None) -> str | None:
    """Without lone surrogates, which some charsets make and no JSON carries."""
    return name.encode("utf-8", "replace").decode() if name else None
