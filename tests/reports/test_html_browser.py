"""The report in a real browser: its tools, both themes, a phone, no scripts, and no word of complaint."""
from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports.evidence import gather
from reports.html import build_html
from tests.reports.chromium import Browser, browser
from tests.reports.html_site import COMMAND, VARIANTS, clip_page, make_run, make_site

TRANSFORMS = "[...document.querySelectorAll('.layer')].map(layer => layer.style.transform)"
SHOWN = "[...document.querySelectorAll('.frame img')].map(image => image.src.slice(-12))"
SETTLED = "[...document.querySelectorAll('.frame')].every(frame => frame.querySelector('img, .broken'))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("html")
    return make_site(make_run(folder), folder / "site")


@pytest.fixture(scope="module")
def chromium(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """The browser; at the end nothing was complained of, and only files were asked for."""
    chromium.driver.get("about:blank")  # it starts with a page of its own
    chromium.complaints(), chromium.requests()
    yield chromium
    assert chromium.complaints() == []
    assert [url for url in chromium.requests() if not url.startswith(("file://", "data:", "about:", "blob:"))] == []


@pytest.fixture
def viewer(page: Browser, site: Path) -> Browser:
    page.open(clip_page(site))
    page.wait(SETTLED)
    return page


def test_every_page_fits_its_screen_and_follows_the_theme(page: Browser, site: Path) -> None:
    light = "getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b, 0)"
    for path in sorted(site.rglob("*.html")):
        page.open(path)
        assert page.run("[...document.images].every(image => !image.complete || image.naturalWidth > 0)")
        for width in (390, 1200):
            page.screen(width)
            wide = page.run("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], f"{path.relative_to(site)} is {wide[0]} px wide on a screen of {wide[1]}"
        assert page.run(light, "backgroundColor") > 700 and page.run(light, "color") < 200
        page.screen(dark=True)
        page.wait("document.documentElement.dataset.theme === 'dark'")
        assert page.run(light, "backgroundColor") < 200 and page.run(light, "color") > 600


def test_the_theme_can_be_chosen_and_is_kept(page: Browser, site: Path) -> None:
    page.open(site / "index.html")
    button = page.find("[data-theme-button]")
    for theme in ("light", "dark"):
        button.click()
        assert page.run("document.documentElement.dataset.theme") == theme
    page.open(site / "tables.html")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.find("[data-theme-button]").click()
    assert page.run("document.documentElement.dataset.theme") == "light"


def test_tables_sort_filter_and_show_intervals(page: Browser, site: Path) -> None:
    page.open(site / "tables.html")
    label = "row => row.cells[0].textContent.trim()"
    column = f"[...document.querySelector('table').tBodies].map(body => [...body.rows].map({label}))"
    original = page.run(column)
    assert original[0] == list(VARIANTS)
    value = "[...document.querySelector('tbody').rows].map(row => Number(row.cells[1].dataset.value))"
    values = page.run(value)
    assert values[0] != values[1]
    head = page.all("table:first-of-type thead th")[1]
    button = head.find_element("css selector", "button")
    button.click()
    assert head.get_attribute("aria-sort") == "ascending" and page.run(value) == sorted(values)
    button.send_keys("\n")  # by keyboard as well
    assert head.get_attribute("aria-sort") == "descending" and page.run(value) == sorted(values, reverse=True)
    assert page.run(column)[1] == original[1]  # what others reported stays apart
    button.click()
    assert head.get_attribute("aria-sort") is None and page.run(column) == original

    page.find("input[type=search]").send_keys("lanc")
    visible = f"[...document.querySelector('table').rows].filter(row => row.offsetHeight).map({label})"
    assert "bicubic" not in page.run(visible) and "lanczos" in page.run(visible)
    assert page.find("[role=status]").text == "1 of 3"
    assert not page.find("small.interval").is_displayed()
    page.find(".choices input[type=checkbox]").click()
    page.find("input[type=search]").send_keys("\b\b\b\b")
    assert page.find("small.interval").is_displayed()


def test_the_slider_moves_by_pointer_and_keys(viewer: Browser) -> None:
    clip = "getComputedStyle(document.querySelector('.clipped')).clipPath"
    before = viewer.run(clip)
    viewer.drag(".handle", 150)
    now = int(viewer.find(".handle").get_attribute("aria-valuenow"))
    width = viewer.run("document.querySelector('.pane').clientWidth")
    assert now == pytest.approx(50 + 100 * 150 / width, abs=1) and viewer.run(clip) != before
    viewer.run("document.querySelector('.handle').focus()")
    viewer.press("\ue012", "\ue012")  # left
    assert int(viewer.find(".handle").get_attribute("aria-valuenow")) == pytest.approx(now - 4, abs=1)
    viewer.press("\ue011")  # home
    assert viewer.find(".handle").get_attribute("aria-valuenow") == "0"


def test_zoom_and_pan_stay_in_step_over_several_pictures(viewer: Browser) -> None:
    viewer.find("input[value=beside]").click()
    for box in viewer.all("[data-choose] input"):
        if not box.is_selected():
            box.click()
    viewer.wait(SETTLED)
    assert len(viewer.all(".pane")) == 4 and viewer.run("document.querySelectorAll('.frame img').length") == 4
    fitted = viewer.run(TRANSFORMS)
    point = "[Report.viewer.view.scale, Report.viewer.view.x, Report.viewer.view.y]"
    scale, x, y = viewer.run(point)
    pane = viewer.run("[document.querySelector('.pane').clientWidth, document.querySelector('.pane').clientHeight]")
    right, down = round(pane[0] * 0.2), round(pane[1] * 0.2)
    viewer.wheel(".pane:nth-child(2)", right, down, -400)
    zoomed = viewer.run(TRANSFORMS)
    assert len(set(zoomed)) == 1 and zoomed != fitted
    now = viewer.run(point)
    assert now[0] > 2 * scale
    # What was under the pointer still is.
    assert now[1] + right / now[0] == pytest.approx(x + right / scale, abs=0.1)
    assert now[2] + down / now[0] == pytest.approx(y + down / scale, abs=0.1)
    viewer.drag(".pane:nth-child(3)", -40, -20)
    moved = viewer.run(TRANSFORMS)
    assert len(set(moved)) == 1 and viewer.run(point)[1] == pytest.approx(now[1] + 40 / now[0], abs=0.1)
    viewer.run("document.querySelector('[data-stage]').focus()")
    viewer.press("+", "\ue014", "\ue015")
    assert len(set(viewer.run(TRANSFORMS))) == 1 and viewer.run(TRANSFORMS) != moved
    viewer.press("0")
    assert viewer.run(TRANSFORMS) == fitted
    viewer.press("1")
    assert viewer.run(point)[0] == pytest.approx(max(1, scale))


def test_frames_are_scrubbed_by_keys_and_played(viewer: Browser) -> None:
    assert viewer.run(SHOWN) == ["00000000.png"] * 2
    viewer.press(".")
    viewer.wait(f"{SHOWN}.every(name => name === '00000001.png')")
    assert viewer.find("[data-frame]").text == "frame 1"
    viewer.press(",", ",")
    viewer.wait(f"{SHOWN}.every(name => name === '00000002.png')")
    viewer.run("document.querySelector('[data-scrub]').focus()")
    viewer.press("\ue011")
    viewer.wait(f"{SHOWN}.every(name => name === '00000000.png')")
    viewer.find("[data-play]").click()
    viewer.wait(f"{SHOWN}[0] !== '00000000.png'")
    viewer.find("[data-play]").click()
    assert viewer.find("[data-play]").get_attribute("aria-pressed") == "false"


def test_the_difference_is_that_of_the_pictures(viewer: Browser) -> None:
    """Read from the screen: black for equal pictures, brighter with more gain."""
    viewer.find("input[value=difference]").click()
    viewer.run("document.querySelectorAll('.name').forEach(name => name.remove())")

    def light() -> float:
        viewer.wait(SETTLED)
        taken = Image.open(io.BytesIO(viewer.find("[data-stage]").screenshot_as_png)).convert("RGB")
        return float(np.asarray(taken)[40:-40, 300:-300].mean())

    two = light()
    assert two > 1
    viewer.run("(document.querySelector('[data-gain]').value = 16,"
               " document.querySelector('[data-gain]').dispatchEvent(new Event('input')))")  # fmt: skip
    assert light() > 1.5 * two
    viewer.run("(Report.viewer.state.a = Report.viewer.state.b,"
               " document.querySelector('input[value=difference]').dispatchEvent(new Event('change')))")  # fmt: skip
    assert light() < 0.5


def test_seams_and_lines_over_time_are_drawn_where_they_are(viewer: Browser) -> None:
    assert viewer.run("document.querySelectorAll('.seam').length") == 0
    viewer.press("s")
    ends = "line => ['x1', 'y1', 'x2', 'y2'].map(name => line[name].baseVal.value)"
    lines = f"[...document.querySelector('.overlay').querySelectorAll('.seam')].map({ends})"
    assert viewer.run(lines) == [[0, 8, 48, 8], [0, 24, 48, 24], [20, 0, 20, 32]]
    viewer.press(",")
    assert viewer.find("[data-frame]").text == "frame 2, tiles end before it"

    strip = "document.querySelector('.strip img')"
    assert viewer.run("document.querySelectorAll('.strip').length") == 4
    assert viewer.run(f"{strip}.alt") == "input, row 16 over time"
    before = viewer.run(f"{strip}.style.transform")
    viewer.find("[data-lines] input[value='columns 3']").click()
    assert viewer.run(f"{strip}.alt") == "input, column 32 over time"
    assert viewer.run(f"{strip}.src").endswith("columns.png")
    assert viewer.run(f"{strip}.style.transform") != before
    assert viewer.run("document.querySelector('line.slice').x1.baseVal.value") == 32.5
    box = viewer.run("(b => [b.width, b.height])(document.querySelector('.stage').getBoundingClientRect())")
    scale = viewer.run("Report.viewer.view.scale")
    viewer.drag(".stage", 0)  # on the handle, which is no place in the picture
    assert viewer.run(f"{strip}.alt") == "input, column 32 over time"
    from selenium.webdriver import ActionChains

    left = round((9 - 24) * scale)  # column 9 of 48
    assert abs(left) < box[0] / 2
    ActionChains(viewer.driver).move_to_element_with_offset(viewer.find(".stage"), left, 30).click().perform()
    assert viewer.run(f"{strip}.alt") == "input, column 8 over time"


def test_everything_is_reached_with_the_tab_key(viewer: Browser) -> None:
    what = """(() => {
      const focused = document.activeElement;
      const outlined = [null, "::after"].some((part) => getComputedStyle(focused, part).outlineStyle !== "none");
      const name = focused.dataset.stage === undefined ? focused.className || focused.name || focused.tagName : "stage";
      return [name, outlined];
    })()"""
    reached = set()
    for _ in range(60):
        viewer.press("\ue004")
        name, outlined = viewer.run(what)
        assert outlined or name == "BODY", f"nothing shows that {name} has the focus"
        reached.add(name)
    assert {"stage", "handle", "mode", "line", "sort", "SELECT"} <= reached


def test_figures_are_drawn_and_lead_to_frames(viewer: Browser, site: Path) -> None:
    assert viewer.run("window.Plotly === undefined")  # loaded only when it is needed
    (overview,) = (site / "clips").glob("*.html")
    for path, traces in ((overview, 2), (site / "index.html", 2)):
        viewer.open(path)
        viewer.run("document.querySelector('[data-chart]').scrollIntoView()")
        viewer.wait("document.querySelectorAll('.scatterlayer .trace').length")
        assert viewer.run("document.querySelectorAll('.scatterlayer .trace').length") == traces
        choice = viewer.all("[data-choices] select")[-1]
        title = "document.querySelector('.ytitle').textContent"
        was = viewer.run(title)
        choice.find_elements("css selector", "option")[-1].click()
        viewer.wait(f"{title} !== {was!r}")
    viewer.open(clip_page(site))
    viewer.run("document.querySelector('[data-chart]').scrollIntoView()")
    viewer.wait("document.querySelectorAll('.scatterlayer .trace').length")
    viewer.run("document.querySelector('[data-plot]').emit('plotly_click', {points: [{x: 2}]})")
    viewer.wait(f"{SHOWN}[0] === '00000002.png'")


def test_the_list_of_clips_shows_one_metric_and_leads_to_the_variant(page: Browser, site: Path) -> None:
    (overview,) = (site / "clips").glob("*.html")
    page.open(overview)
    output = "document.querySelector('td output').textContent"
    first = page.run(output)
    page.all("[data-clips-metric] option")[-1].click()
    assert page.run(output) != first
    page.find("[data-clips-filter]").send_keys("script")
    assert [row.is_displayed() for row in page.all("[data-clips] tbody tr")] == [False, True]
    page.find("[data-clips-filter]").send_keys("\b" * 6)
    page.find("tbody tr td:nth-child(2) a").click()
    page.wait(SETTLED)
    assert page.run("Report.viewer.state.b.name") == VARIANTS[0]


def test_a_label_that_is_no_plain_word_leads_to_its_variant(chromium: Browser, tmp_path: Path) -> None:
    label = "ours & <b>more</b> 50 %"
    evidence = gather([make_run(tmp_path)])
    site = build_html(evidence, [], [], tmp_path / "site", COMMAND, labels={"lanczos": label}).parent
    (overview,) = (site / "clips").glob("*.html")
    chromium.open(overview)
    chromium.find("tbody tr td:nth-child(3) a").click()
    chromium.wait(SETTLED)
    assert chromium.run("Report.viewer.state.b.name") == label
    assert label in [option.get_attribute("textContent") for option in chromium.all("[data-b] option")]


def test_a_frame_that_is_missing_is_said_in_its_place(chromium: Browser, tmp_path: Path) -> None:
    site = make_site(make_run(tmp_path), tmp_path / "site")
    for path in site.glob("media/*/*/lanczos/00000000.png"):
        path.unlink()
    chromium.open(clip_page(site))
    chromium.wait("document.querySelector('.broken')")
    assert chromium.find(".broken").get_attribute("textContent") == "Frame 0 of lanczos cannot be shown."
    assert chromium.run("document.querySelectorAll('.frame img').length") == 1


def test_without_scripts_values_pictures_and_figures_are_there(page: Browser, site: Path) -> None:
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(clip_page(site))
        assert page.find("noscript p").is_displayed() and not page.find("[data-viewer]").is_displayed()
        assert page.find("td").is_displayed() and page.find(".pictures img").is_displayed()
        page.open(site / "index.html")
        assert page.find("figure img").is_displayed() and not page.find("[data-chart]").is_displayed()
        assert not page.find("[data-copy]").is_displayed() and page.find("td").text
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
