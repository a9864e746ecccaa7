"""How a page is looked at: the size of the window, light or dark."""

from __future__ import annotations

from pathlib import Path
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
SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "_static" / "screenshots"
"""Where the fixture ``screenshot`` writes."""

# The innermost elements that stick out to the right, or whose text does, unless something around
# them scrolls or cuts them off.
_STICKING_OUT: Final = """
width => {
    const visible = element => getComputedStyle(element).overflowX === "visible";
    const wide = [...document.body.querySelectorAll("*")].filter(element => {
        const box = element.getBoundingClientRect();
        const inside = visible(element) ? element.scrollWidth : 0;
        if (box.left + Math.max(box.width, inside) <= width + 0.5) return false;
        for (let up = element.parentElement; up !== document.body; up = up.parentElement) {
            if (!visible(up)) return false;
        }
        return true;
    });
    const innermost = element => !wide.some(one => one !== element && element.contains(one));
    return wide.filter(innermost).map(element => element.cloneNode(false).outerHTML);
}
"""


def scheme_of(page: Page) -> str:
    """Whether the page is shown light or dark."""
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    return "dark" if dark else "light"


def assert_fits(page: Page) -> None:
    """Raise AssertionError if the page as a whole can be scrolled sideways. What is inside a
    scrolling element, such as a wide table, does no harm."""
    width = (page.viewport_size or {})["width"]
    wide = page.evaluate("document.documentElement.scrollWidth")
    elements = page.evaluate(_STICKING_OUT, width)
    assert wide <= width, f"{page.url} is {wide} px wide, not {width}: " + "\n".join(elements)
