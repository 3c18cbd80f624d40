"""The web page of the service in a browser."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.image_bytes import encode, encode_jpeg
from helpers.serving import ServiceProcess, run_service

DISPATCH_FILE = """([type, data]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
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
    """The page in a browser, with lists of its requests and of its errors."""
    page = browser.new_page()
    page.set_default_timeout(15_000)
    page.requested_urls, page.errors = [], []
    page.on("request", lambda request: page.requested_urls.append(request.url))
    page.on("console", lambda message: page.errors.append(message.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(service.address)
    yield page
    page.close()


def choose_files(page: Any, **files: bytes) -> Any:
    """Choose files by name, wait for all predictions and return the cards."""
    page.set_input_files(
        "#files",
        [{"name": name, "mimeType": "image/jpeg", "buffer": content} for name, content in files.items()],
    )
    return wait_for_cards(page, len(files))


def wait_for_cards(page: Any, count: int) -> Any:
    page.locator(".result:not(.pending)").nth(count - 1).wait_for()
    return page.locator(".result")


def test_chosen_images_show_a_bar_per_class(page: Any, service: ServiceProcess) -> None:
    cards = choose_files(page, one=encode_jpeg(), two=encode("PNG"))
    assert page.locator("#model-info").inner_text() == "birds · cats · dogs — rejected below 20 %"
    assert cards.count() == 2
    for card in cards.all():
        assert card.locator(".label").inner_text() in ("birds", "cats", "dogs")
        widths = card.locator(".classes i").evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().width)")
        assert widths == sorted(widths, reverse=True)
        assert len(widths) == 3
        assert card.locator("img").evaluate("image => image.naturalWidth") == 96
    assert page.errors == []
    assert all(url.startswith((service.address, "blob:", "data:")) for url in page.requested_urls)


def test_unreadable_image_shows_its_error_and_others_their_predictions(page: Any) -> None:
    cards = choose_files(page, good=encode_jpeg(), broken=encode_jpeg()[:300], text=b"hello")
    assert cards.locator(".label").all_inner_texts()[1:] == [
        "truncated: the file ends before the image is complete",
        "not an image: it starts like text, 'hello'",
    ]
    assert cards.nth(0).locator(".classes dt").count() == 3
    assert page.locator(".failed").count() == 2


@pytest.mark.parametrize("event_type", ["paste", "drop"])
def test_images_can_be_pasted_and_dropped(page: Any, event_type: str) -> None:
    page.evaluate(DISPATCH_FILE, [event_type, base64.b64encode(encode_jpeg()).decode()])
    assert wait_for_cards(page, 1).locator(".classes dt").count() == 3


def test_prediction_below_threshold_is_shown_as_rejected(browser: Any, bundle: Path) -> None:
    with run_service(bundle, "--threshold", "1") as service:
        page = browser.new_page()
        page.goto(service.address)
        (card,) = choose_files(page, one=encode_jpeg()).all()
        assert card.locator(".label").inner_text() in ("birds", "cats", "dogs")
        assert card.locator(".rejection").inner_text() == "Rejected: low confidence"
        assert "rejected" in card.get_attribute("class")
        assert card.locator(".classes dt").count() == 3
        page.close()


def test_out_of_distribution_prediction_is_shown_as_such(page: Any) -> None:
    model_info = {"class_names": ["unknown", "dogs"], "threshold": 0.5, "min_similarity": 0.9}
    accepted = {
        "label": "unknown",
        "probability": 0.95,
        "rejected": False,
        "top_k": [["unknown", 0.95], ["dogs", 0.05]],
    }
    prediction = accepted | {"rejected": True, "rejection_reason": "out_of_distribution"}
    page.route("**/ready", lambda route: route.fulfill(json=model_info))
    page.route("**/predict", lambda route: route.fulfill(json={"predictions": [prediction]}))
    page.reload()
    page.get_by_text("rejected below 50 %").wait_for()
    card = choose_files(page, ship=encode_jpeg())
    assert card.locator(".label").inner_text() == "unknown"
    assert card.locator(".rejection").inner_text() == "Rejected: out of distribution"
    page.route("**/predict", lambda route: route.fulfill(json={"predictions": [accepted]}))
    page.reload()
    assert choose_files(page, blank=encode_jpeg()).locator(".label, .rejection").all_inner_texts() == ["unknown", ""]


def test_stopped_service_is_reported(browser: Any, bundle: Path) -> None:
    with run_service(bundle) as service:
        page = browser.new_page()
        page.goto(service.address)
    choose_files(page, one=encode_jpeg())
    assert page.locator(".label").inner_text() == "Cannot reach the service."
    page.close()


def test_file_names_are_not_interpreted_as_html(page: Any) -> None:
    cards = choose_files(page, **{"<img src=x onerror=alert(1)>.jpg": encode_jpeg()})
    assert cards.locator(".name").inner_text() == "<img src=x onerror=alert(1)>.jpg"
    assert page.errors == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_page_does_not_overflow_horizontally(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    choose_files(page, **{"a" * 120: encode_jpeg(), "bad": b"hello"})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
