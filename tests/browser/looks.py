"""How a page is looked at: the size of the window, light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCHEMES: Final = ("light", "dark")
DESKTOP: Final[dict[str, Any]] = {"viewport": {"width": 1280, "height": 800}}
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
}
SIZES: Final = {"desktop": DESKTOP, "phone": PHONE}

# Elements that stick out to the right, unless something around them scrolls or cuts them off.
_STICKING_OUT: Final = """
width => [...document.body.querySelectorAll("*")].filter(element => {
    if (element.getBoundingClientRect().right <= width + 0.5) return false;
    for (let up = element.parentElement; up; up = up.parentElement) {
        if (up === document.body || up === document.documentElement) break;
        if (getComputedStyle(up).overflowX !== "visible") return false;
    }
    return true;
}).map(element => element.cloneNode(false).outerHTML)
"""


def assert_fits(page: Page) -> None:
    """Raise AssertionError if the page as a whole can be scrolled sideways. What is inside a
    scrolling element, such as a wide table, does no harm."""
    width = (page.viewport_size or {})["width"]
    wide = page.evaluate("document.documentElement.scrollWidth")
    elements = page.evaluate(_STICKING_OUT, width)
    assert wide <= width, f"{page.url} is {wide} px wide, not {width}: " + "\n".join(elements)
