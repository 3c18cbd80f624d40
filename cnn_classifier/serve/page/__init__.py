"""The web pages: the upload page at `/` and the API reference at `/docs`, without external resources."""

import base64
import hashlib
from functools import cache
from pathlib import Path

PAGE_DIR = Path(__file__).parent
SHARED_STYLE = PAGE_DIR.parents[1] / "report" / "templates" / "style.css"


@cache
def render_page() -> tuple[str, dict[str, str]]:
    """Return the upload page and its headers."""
    style, script = read_style(), (PAGE_DIR / "page.js").read_text(encoding="utf-8")
    content = (PAGE_DIR / "page.html").read_text(encoding="utf-8")
    return content.replace("/* style */", style).replace("/* script */", script), make_headers(style, script)


@cache
def read_style() -> str:
    """Return the style of both pages."""
    return SHARED_STYLE.read_text(encoding="utf-8") + (PAGE_DIR / "page.css").read_text(encoding="utf-8")


def make_headers(style: str, script: str = "") -> dict[str, str]:
    """Return the headers of a page, with a Content-Security-Policy that allows only its inline style and script."""
    policy = (
        f"default-src 'none'; style-src {csp_hash(style)}; script-src {csp_hash(script)}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def csp_hash(text: str) -> str:
    """Return the Content-Security-Policy source expression of an inline text, its SHA-256."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
