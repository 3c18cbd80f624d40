"""HTML pages that stand alone: one file with its style and pictures inside, no script and nothing fetched."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cnn_classifier.data.advice import several
from cnn_classifier.data.preprocess import decode
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.storage import write_whole

THUMBNAIL_SIDE = 128  # pixels of the long side
THUMBNAIL_QUALITY = 60  # of JPEG: 3 kB each on photos, 8 kB on pure noise
ZERO_WIDTH_JOINER = "\u200d"  # not printable by itself, but it holds emoji together


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render a template of this folder into a file, whole or not at all.

    Raises:
        StorageError: If the file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=legible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "thousands": "{:,}".format,
        "several": several,
        "percent": percent,
        "duration": duration,
        "short": short,
    }
    page = environment.get_template(template).render(values)
    write_whole(path, page.encode(), sync=False)


def percent(share: float) -> str:
    """`86.3 %`."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """`9.4 s`, `2 min 58 s`, `3 h 4 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def short(value: str) -> str:
    """A number with the digits that one compares by, such as `0.0328`; whole ones and words as they are."""
    try:
        return f"{float(value):.3g}" if "." in value else value
    except ValueError:
        return value


def legible(value: Any) -> Any:
    r"""What a template writes: in file names, line breaks, bytes that are no UTF-8 and the like as `\n` or `\udce9`."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(
        char if char.isprintable() or char == ZERO_WIDTH_JOINER else char.encode("unicode_escape").decode()
        for char in value
    )


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small upright picture, or why there is none.

    Args:
        address: The picture itself, as a `data:` address.
        width: In pixels.
        height: In pixels.
        reason: Why the file cannot be read; empty if it can.
    """

    address: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def thumbnails(paths: Iterable[str], root: Path) -> dict[str, Thumbnail]:
    """The thumbnail of each file.

    Args:
        paths: Files, relative to the root or absolute.
        root: The folder they are in.
    """
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor() as pool:
        return dict(zip(unique, pool.map(partial(thumbnail, root=root), unique), strict=True))


def thumbnail(path: str, *, root: Path) -> Thumbnail:
    """The thumbnail of one file."""
    try:
        picture = decode(Path(root, path), 3)
    except UnreadableImageError as error:
        return Thumbnail(reason=str(error))
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=THUMBNAIL_QUALITY)
    address = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Thumbnail(address=address, width=picture.width, height=picture.height)
