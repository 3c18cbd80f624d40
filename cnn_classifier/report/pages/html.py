"""Self-contained HTML pages: styles and images are embedded; no scripts, no external resources."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cnn_classifier.data.images.preprocess import decode
from cnn_classifier.data.images.wide import ValueRange
from cnn_classifier.data.sources.class_names import pluralize
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.files import atomic_write
from cnn_classifier.report.formatting import format_duration, format_percent, format_value

THUMBNAIL_SIZE = 128  # pixels, the long side
THUMBNAIL_QUALITY = 60  # JPEG quality: 3 kB for photos, 8 kB for noise
ZERO_WIDTH_JOINER = "\u200d"  # unprintable, but required within emoji sequences


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render a template and write the page atomically.

    Args:
        path: The output file.
        template: The file name of the template.
        **values: The variables of the template.

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
        "pluralize": pluralize,
        "percent": format_percent,
        "duration": format_duration,
        "shorten": format_value,
        "breakable": format_breakable,
    }
    html = environment.get_template(template).render(values)
    atomic_write(path, html.encode(), sync=False)


def format_breakable(key: str) -> Markup:
    """Return the key of an option with invisible line-break opportunities after its dots, for attributes."""
    return Markup(".\u200b").join(escape_unprintable(part) for part in key.split("."))


def escape_unprintable(value: Any) -> Any:
    r"""Escape unprintable characters of a string, such as line breaks and invalid bytes, as `\n` or `\udce9`."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(
        char if char.isprintable() or char == ZERO_WIDTH_JOINER else char.encode("unicode_escape").decode()
        for char in value
    )


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A thumbnail of an image file, or the reason why the file cannot be read.

    Args:
        data_uri: The thumbnail as a `data:` URI.
        width: The width of the thumbnail in pixels.
        height: The height of the thumbnail in pixels.
        reason: The reason why the file cannot be read; empty if it can be read.
    """

    data_uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def make_thumbnails(paths: Iterable[str], root: Path, value_range: ValueRange | None = None) -> dict[str, Thumbnail]:
    """Return the thumbnail of each file, by path.

    Args:
        paths: The files, absolute or relative to `root`.
        root: The folder that relative paths start from.
        value_range: The range of values of images with more than 8 bits per channel, as in `Preprocess`.
    """
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor() as pool:
        load = partial(make_thumbnail, root=root, value_range=value_range)
        return dict(zip(unique, pool.map(load, unique), strict=True))


def make_thumbnail(path: str, *, root: Path, value_range: ValueRange | None) -> Thumbnail:
    """Return the thumbnail of a file, relative to `root` or absolute."""
    try:
        image = decode(Path(root, path), 3, value_range=value_range)
    except UnreadableImageError as error:
        return Thumbnail(reason=str(error))
    image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    data_uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Thumbnail(data_uri=data_uri, width=image.width, height=image.height)
