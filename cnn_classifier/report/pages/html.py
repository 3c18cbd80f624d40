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

from cnn_classifier.data.checks.suggestions import pluralize
from cnn_classifier.data.images.preprocess import decode
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.files import atomic_write

THUMBNAIL_SIZE = 128  # pixels of the long side
THUMBNAIL_QUALITY = 60  # of JPEG: 3 kB each on photos, 8 kB on pure noise
ZERO_WIDTH_JOINER = "\u200d"  # not printable by itself, but it holds emoji together


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render a template of this folder into a file, whole or not at all.

    Raises:
        StorageError: If the file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=escape_unprintable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "thousands": "{:,}".format,
        "several": pluralize,
        "percent": format_percent,
        "duration": format_duration,
        "short": format_value,
    }
    html = environment.get_template(template).render(values)
    atomic_write(path, html.encode(), sync=False)


def format_percent(fraction: float) -> str:
    """`86.3 %`."""
    return f"{100 * fraction:.1f} %"


def format_duration(seconds: float) -> str:
    """`9.4 s`, `2 min 58 s`, `3 h 4 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_value(value: str) -> str:
    """A number with the digits that one compares by, such as `0.0328`; whole ones and words as they are."""
    try:
        return f"{float(value):.3g}" if "." in value else value
    except ValueError:
        return value


def escape_unprintable(value: Any) -> Any:
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

    data_uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def make_thumbnails(paths: Iterable[str], root: Path) -> dict[str, Thumbnail]:
    """The thumbnail of each file.

    Args:
        paths: Files, relative to the root or absolute.
        root: The folder they are in.
    """
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor() as pool:
        return dict(zip(unique, pool.map(partial(make_thumbnail, root=root), unique), strict=True))


def make_thumbnail(path: str, *, root: Path) -> Thumbnail:
    """The thumbnail of one file."""
    try:
        image = decode(Path(root, path), 3)
    except UnreadableImageError as error:
        return Thumbnail(reason=str(error))
    image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    data_uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Thumbnail(data_uri=data_uri, width=image.width, height=image.height)
