"""The page, in a real browser: pictures go in, answers with bars come out, and nothing is loaded from elsewhere."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.image_bytes import encode, encode_jpeg
from helpers.serving import ServiceProcess, run_service

PASTE = """([type, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "it.jpg", { type: "image/jpeg" }));
  const details = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(type === "paste"
    ? new ClipboardEvent("paste", { ...details, clipboardData: transfer })
    : new DragEvent(type, { ...details, dataTransfer: transfer }));
}"""


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[ServiceProcess]:
    with run_service(bundle) as service:
        yield service


@pytest.fixture
def page(browser: Any, service: ServiceProcess) -> Iterator[Any]:
    """The page in a browser that keeps what it asked for and what it complained of."""
    page = browser.new_page()
    page.set_default_timeout(15_000)
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(service.address)
    yield page
    page.close()


def choose(page: Any, **pictures: bytes) -> Any:
    """Choose files; the cards once all of them are answered."""
    page.set_input_files(
        "#files",
        [{"name": name, "mimeType": "image/jpeg", "buffer": content} for name, content in pictures.items()],
    )
    return answered(page, len(pictures))


def answered(page: Any, count: int) -> Any:
    page.locator(".answer:not(.waiting)").nth(count - 1).wait_for()
    return page.locator(".answer")


def test_chosen_pictures_are_shown_with_a_bar_for_every_class(page: Any, service: ServiceProcess) -> None:
    cards = choose(page, one=encode_jpeg(), two=encode("PNG"))
    assert page.locator("#about").inner_text() == "birds · cats · dogs — unknown below 20 %"
    assert cards.count() == 2
    for card in cards.all():
        assert card.locator(".label").inner_text() in ("birds", "cats", "dogs")
        widths = card.locator(".classes i").evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().width)")
        assert widths == sorted(widths, reverse=True)
        assert len(widths) == 3
        assert card.locator("img").evaluate("image => image.naturalWidth") == 96
    assert page.complaints == []
    assert all(address.startswith((service.address, "blob:", "data:")) for address in page.asked)


def test_a_picture_that_cannot_be_read_says_why_and_the_others_are_answered(page: Any) -> None:
    cards = choose(page, good=encode_jpeg(), broken=encode_jpeg()[:300], text=b"hello")
    assert cards.locator(".label").all_inner_texts()[1:] == [
        "cut short: the file ends before its picture does",
        "not an image: it starts like text, 'hello'",
    ]
    assert cards.nth(0).locator(".classes dt").count() == 3
    assert page.locator(".failed").count() == 2


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pictures_are_pasted_and_dropped(page: Any, way: str) -> None:
    page.evaluate(PASTE, [way, base64.b64encode(encode_jpeg()).decode()])
    assert answered(page, 1).locator(".classes dt").count() == 3


def test_what_is_unknown_says_so(browser: Any, bundle: Path) -> None:
    with run_service(bundle, "--threshold", "1") as unsure:
        page = browser.new_page()
        page.goto(unsure.address)
        (card,) = choose(page, one=encode_jpeg()).all()
        assert card.locator(".label").inner_text() == "unknown"
        assert "unknown" in card.get_attribute("class")
        assert card.locator(".classes dt").count() == 3
        page.close()


def test_what_is_unlike_all_that_it_knows_says_so(page: Any) -> None:
    about = {"class_names": ["cats", "dogs"], "threshold": 0.5, "min_similarity": 0.9}
    ship = {"label": "unknown", "probability": 0.95, "similarity": 0.4, "top_k": [["cats", 0.95], ["dogs", 0.05]]}
    page.route("**/ready", lambda route: route.fulfill(json=about))
    page.route("**/predict", lambda route: route.fulfill(json={"predictions": [ship]}))
    page.reload()
    page.get_by_text("unknown below 50 %").wait_for()
    assert choose(page, ship=encode_jpeg()).locator(".label").inner_text() == "unknown: unlike all it knows"


def test_a_service_that_is_gone_says_so(browser: Any, bundle: Path) -> None:
    with run_service(bundle) as short_lived:
        page = browser.new_page()
        page.goto(short_lived.address)
    choose(page, one=encode_jpeg())
    assert page.locator(".label").inner_text() == "the service cannot be reached"
    page.close()


def test_names_are_shown_and_never_run(page: Any) -> None:
    cards = choose(page, **{"<img src=x onerror=alert(1)>.jpg": encode_jpeg()})
    assert cards.locator(".name").inner_text() == "<img src=x onerror=alert(1)>.jpg"
    assert page.complaints == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_at_any_width(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    choose(page, **{"a" * 120: encode_jpeg(), "bad": b"hello"})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
