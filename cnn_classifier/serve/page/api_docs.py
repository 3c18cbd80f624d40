"""The API reference at `/docs`, rendered from the OpenAPI schema: Swagger UI would load its scripts from a CDN."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from cnn_classifier.serve.page import make_headers, read_style

Schema = Mapping[str, Any]

NO_CONTENT: Schema = {"content": {}}
EXAMPLES = {
    "/predict": (
        "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' '{url}predict?top_k=2'\n"
        "curl -F images=@one.jpg -F images=@two.jpg '{url}predict?threshold=0.8'"
    )
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HTTP API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<h1>HTTP API</h1>
<p class="muted">{title} {version}. <a href="openapi.json">OpenAPI schema</a> · <a href="./">upload page</a></p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def render_docs(openapi: Schema, url: str) -> tuple[str, dict[str, str]]:
    """Return the page and its headers.

    Args:
        openapi: The OpenAPI schema of the service.
        url: The URL of the service for the examples, with a trailing slash.
    """
    style = read_style()
    sections = [
        render_operation(openapi, f"{method.upper()} {path}", operation, EXAMPLES.get(path, "").format(url=url))
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    texts = {"title": openapi["info"]["title"], "version": openapi["info"]["version"]}
    content = {"style": style, "sections": "\n".join(sections)}
    return PAGE.format(**content, **{name: escape(text) for name, text in texts.items()}), make_headers(style)


def render_operation(openapi: Schema, name: str, operation: Schema, example: str) -> str:
    """Return the section of one route: examples, parameters, request bodies, status codes and response fields."""
    parameters = [
        (parameter["name"], format_type(parameter["schema"]), parameter["description"])
        for parameter in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", NO_CONTENT)["content"]
    bodies = [(content_type, format_type(value["schema"])) for content_type, value in body.items()]
    codes = [(code, response["description"]) for code, response in sorted(operation["responses"].items())]
    response = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
    return "\n".join(
        [
            f"<section><h2><code>{escape(name)}</code></h2>",
            f"<p>{escape(operation['summary'])}. {escape(operation['description'])}</p>",
            f"<pre>{escape(example)}</pre>" if example else "",
            render_table(("query parameter", "type", ""), parameters),
            render_table(("request body", "content"), bodies),
            *(render_model(openapi, model) for model in iter_models(openapi, response)),
            render_table(("status code", ""), codes),
            "</section>",
        ]
    )


def render_model(openapi: Schema, name: str) -> str:
    """Return the fields of a response model as a table."""
    model = openapi["components"]["schemas"][name]
    descriptions = parse_fields(model["description"])
    rows = [(field, format_type(value), descriptions.get(field, "")) for field, value in model["properties"].items()]
    return render_table((name, "type", ""), rows)


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table whose first column is code; an empty string if there are no rows."""
    lines = [
        f"<tr><td><code>{escape(first)}</code></td>{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    ]
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    return "\n".join([f"<table><thead><tr>{head}</tr></thead>", *lines, "</table>"]) if lines else ""


def iter_models(openapi: Schema, schema: Schema) -> Iterator[str]:
    """Yield the names of the models that a schema refers to, each followed by those of its fields."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield name
        for value in openapi["components"]["schemas"][name]["properties"].values():
            yield from iter_models(openapi, value)
    if "items" in schema:
        yield from iter_models(openapi, schema["items"])


def format_type(schema: Schema) -> str:
    """Return a JSON schema in words, such as `string or null` or `array of Prediction`."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(format_type, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if "prefixItems" in schema:
        return f"[{', '.join(map(format_type, schema['prefixItems']))}]"
    if "items" in schema:
        return f"array of {format_type(schema['items'])}"
    if "properties" in schema:
        fields = (f"{name}: {format_type(value)}" for name, value in schema["properties"].items())
        return f"{{{', '.join(fields)}}}"
    limits = f" from {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else ""
    default = f" (default: {schema['default']})" if schema.get("default") else ""
    return f"{schema.get('contentEncoding') or schema.get('format') or schema.get('type', 'any')}{limits}{default}"


def parse_fields(docstring: str) -> dict[str, str]:
    """Return the description of each field in the `Args:` section of a docstring, in terms of JSON."""
    docstring = re.sub(r"\bNone\b", "null", docstring.replace("`", ""))
    matches = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", docstring.partition("Args:")[2], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in matches}
