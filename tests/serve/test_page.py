"""The page in a real browser: headless Chromium driven over WebDriver."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from served import Served, text, wait_for

from edgepose.io.sources.testsrc import read_clock

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
# what the page's picture shows now, as a PNG
GRAB = """
const p = document.getElementById("picture"), c = document.createElement("canvas");
if (!p.naturalWidth) return "";
c.width = p.naturalWidth; c.height = p.naturalHeight;
c.getContext("2d").drawImage(p, 0, 0);
return c.toDataURL("image/png");
"""


@pytest.fixture
def page(browser: Any, server: Served) -> Iterator[Any]:
    """The page, opened and live; at the end the browser must have nothing to complain of."""
    browser.get(server.url + "/")
    wait_for(lambda: text(browser, "connection") == "Live", "the connection")
    yield browser
    said = [x for x in browser.get_log("browser") if x["level"] in ("SEVERE", "WARNING")]
    browser.get("about:blank")
    assert said == []


def grab(browser: Any) -> Any:
    data = browser.execute_script(GRAB)
    if not data:
        return None
    png = np.frombuffer(base64.b64decode(data.partition(",")[2]), np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR_RGB)


def clock(browser: Any) -> float | None:
    picture = grab(browser)
    return None if picture is None else read_clock(picture)


def test_the_picture_changes(page: Any) -> None:
    first = wait_for(lambda: clock(page), "a picture")
    wait_for(lambda: (clock(page) or first) > first, "a later picture")
    assert page.execute_script("return document.getElementById('picture').alt")


def test_people_figures_and_stages_show_up(page: Any) -> None:
    wait_for(lambda: text(page, "people") == "3", "three people")
    wait_for(lambda: float(text(page, "fps")) > 0, "a rate")
    assert float(text(page, "inference")) > 0
    assert "#1" in text(page, "inside")
    assert "network" in text(page, "stages")
    assert text(page, "network") == "edgepose-lite-body"
    wait_for(
        lambda: page.execute_script("return document.querySelectorAll('#chart .trace').length"),
        "the chart",
    )
    assert "now 3" in wait_for(
        lambda: (
            label
            if "now 3" in (label := page.find_element("id", "chart").get_attribute("aria-label"))
            else ""
        ),
        "its words",
    )
    assert page.title == "3 people · edgepose"


def test_the_source_is_switched_and_back(page: Any, server: Served) -> None:
    assert text(page, "input").startswith("test://people")
    page.execute_script("document.querySelector('input[value=example]').click()")
    wait_for(lambda: "figures.mp4" in text(page, "input"), "the film")
    wait_for(lambda: text(page, "connection") == "Live", "its connection")
    # a film of two seconds: its clock is never far
    wait_for(lambda: 0 < (clock(page) or 9) < 2.1, "its picture")
    # the camera has lost its viewer
    wait_for(lambda: server.state("camera")["state"] == "idle", "the camera's rest")
    page.execute_script("document.querySelector('input[value=camera]').click()")
    wait_for(lambda: text(page, "input").startswith("test://people"), "the camera")
    wait_for(lambda: text(page, "connection") == "Live", "its connection")


def test_a_picture_never_stands_under_another_inputs_name(page: Any) -> None:
    wait_for(lambda: clock(page), "a picture")
    left = page.execute_script(
        "document.querySelector('input[value=example]').click();"
        "return document.getElementById('picture').hasAttribute('src')"
    )
    assert not left
    wait_for(lambda: 0 < (clock(page) or 9) < 2.1, "the film's own")


def test_events_arrive_by_themselves(page: Any) -> None:
    page.execute_script("document.querySelector('input[value=example]').click()")
    wait_for(lambda: "figures.mp4" in text(page, "input"), "the film")
    rows = "return [...document.querySelectorAll('#rows tr.new .what')].map(x => x.innerText)"
    wait_for(lambda: {"enter", "exit"} <= set(page.execute_script(rows)), "events of both kinds")
    assert "Person" in text(page, "said")
    assert "visits in the last five minutes" in wait_for(
        lambda: page.find_element("id", "visits").get_attribute("aria-label"), "the visits"
    )
    page.execute_script(
        "const k = document.getElementById('kind'); k.value = 'exit'; k.onchange();"
    )
    shown = "return [...document.querySelectorAll('#rows .what')].map(x => x.innerText)"
    wait_for(lambda: set(page.execute_script(shown)) == {"exit"}, "exits alone")
    before = len(page.execute_script(shown))
    wait_for(lambda: len(page.execute_script(shown)) > before, "another exit")


def hold(page: Any) -> float | None:
    """Pause, and read the clock of the picture that stays; None where it stopped between two frames."""
    page.find_element("id", "pause").click()
    wait_for(
        lambda: str(page.find_element("id", "picture").get_attribute("src")).startswith("blob:"),
        "the held picture",
    )
    wait_for(lambda: grab(page) is not None, "its pixels")
    return clock(page)


def pass_time(page: Any, milliseconds: int) -> None:
    begun = page.execute_script("return performance.now()")
    wait_for(lambda: page.execute_script("return performance.now()") > begun + milliseconds, "time")


def test_the_picture_can_be_held(page: Any) -> None:
    wait_for(lambda: clock(page), "a picture")
    held = hold(page)
    for _ in range(5):  # a stream may be stopped while a frame is half drawn
        if held is not None:
            break
        page.find_element("id", "pause").click()
        wait_for(lambda: clock(page), "moving pictures")
        held = hold(page)
    assert held is not None
    pass_time(page, 300)
    assert clock(page) == held
    page.find_element("id", "pause").click()
    wait_for(lambda: (clock(page) or held) != held, "moving pictures")


def test_who_pauses_sees_nothing_move_and_misses_nothing(page: Any) -> None:
    wait_for(lambda: float(text(page, "fps")) > 0, "figures")
    page.find_element("id", "pause").click()
    assert text(page, "connection") == "Paused"
    assert text(page, "pause") == "Resume"
    assert "Paused" in text(page, "asof")
    assert page.execute_script("return document.getElementById('main').dataset.stale") == ""
    page.execute_script("document.getElementById('people').textContent = 'held'")
    pass_time(page, 600)
    assert text(page, "people") == "held"
    page.find_element("id", "pause").click()
    wait_for(lambda: text(page, "people") == "3", "figures again")
    assert text(page, "connection") == "Live"
    assert page.execute_script("return document.getElementById('asof').hidden")


def test_a_test_picture_is_not_taken_for_a_camera(page: Any) -> None:
    assert "not a camera" in text(page, "banner")
    page.execute_script("document.querySelector('input[value=example]').click()")
    wait_for(lambda: "figures.mp4" in text(page, "input"), "the film")
    assert page.execute_script("return document.getElementById('banner').hidden")


def spot(page: Any, key: str) -> tuple[float, float]:
    """Where a point of a zone lies, in pixels of the page."""
    box = page.execute_script(
        f"const b = document.querySelector('[data-key=\"{key}\"] circle:last-child').getBoundingClientRect();"
        "return [b.x + b.width / 2, b.y + b.height / 2]"
    )
    return float(box[0]), float(box[1])


def test_zones_are_drawn_and_edited_on_the_picture(page: Any, server: Served) -> None:
    def zones() -> Any:
        return server.get("/api/v1/zones", source="camera")["zones"]

    def click(id: str) -> None:
        page.find_element("id", id).click()

    assert zones() == []
    wait_for(lambda: clock(page), "a picture")
    click("edit")
    click("add-zone")
    page.switch_to.active_element.send_keys("counter\t")  # the name is selected
    click("add-line")
    page.switch_to.active_element.send_keys("door\t")
    x, y = spot(page, "0-p0")
    drag = webdriver.ActionChains(page)
    drag.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    drag.w3c_actions.pointer_action.pointer_down()
    drag.w3c_actions.pointer_action.move_to_location(round(x) - 60, round(y) - 40)
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    assert spot(page, "0-p0") == pytest.approx((x - 60, y - 40), abs=2)
    # by keyboard: a point is moved, one is added, and all is undone step by step
    keys = webdriver.Keys
    corner = page.find_element("css selector", '[data-key="0-p1"]')
    page.execute_script("arguments[0].focus()", corner)
    for key in (keys.ARROW_RIGHT, keys.ARROW_RIGHT):
        page.switch_to.active_element.send_keys(key)
    assert "67 % from the left" in page.switch_to.active_element.get_attribute("aria-label")
    page.execute_script("document.querySelector('[data-key=\"0-m1\"]').focus()")
    page.switch_to.active_element.send_keys(keys.ENTER)
    count = "return document.querySelectorAll('[data-key^=\"0-p\"]').length"
    assert page.execute_script(count) == 5
    click("undo")
    assert page.execute_script(count) == 4
    click("redo")
    click("undo")
    click("save")
    wait_for(lambda: page.execute_script("return document.getElementById('editor').hidden"), "it")
    counter, door = zones()
    assert (counter["name"], door["name"], door["right"]) == ("counter", "door", "in")
    assert counter["polygon"][1] == [0.67, 0.35]
    assert counter["polygon"][0][0] < 0.3
    name_there = "return document.querySelector('#zones .zone-name')?.textContent"
    wait_for(
        lambda: "counter" in str(page.execute_script(name_there)),
        "its name on the picture",
    )
    # what cannot be meant is said, and nothing is lost
    click("edit")
    page.execute_script("document.getElementById('name-1').select()")
    page.find_element("id", "name-1").send_keys("counter\t")
    click("save")
    assert "given twice" in wait_for(lambda: text(page, "editor-said").strip("Saving …"), "why")
    click("cancel")
    assert len(zones()) == 2
    # undone after it was saved
    click("edit")
    for name_of in ("counter", "door"):
        page.find_element("css selector", "#shapes li > button:last-of-type").click()
        assert name_of not in [
            e.get_attribute("value") for e in page.find_elements("css selector", "#shapes input")
        ]
    click("save")
    wait_for(lambda: zones() == [], "none")
    page.get_log("browser")  # the refusal is in there


def test_hours_and_pictures_of_events(page: Any) -> None:
    page.execute_script("document.querySelector('input[value=example]').click()")
    thumbs = "return [...document.querySelectorAll('.thumb')].filter(x => x.naturalWidth).length"
    wait_for(lambda: page.execute_script(thumbs), "a small picture of an event")
    for days in ("1", "7"):
        page.execute_script(
            f"const s = document.getElementById('span'); s.value = '{days}'; s.onchange();"
        )
        chart = page.find_element("id", "chart")
        wait_for(
            lambda chart=chart: "most in the hour" in str(chart.get_attribute("aria-label")), "them"
        )


def test_the_video_comes_by_webrtc_too(page: Any, server: Served) -> None:
    if not server.get("/api/v1/source")["webrtc"]:
        pytest.skip("aiortc is not installed")
    page.find_element("id", "rtc").click()
    size = "const v = document.getElementById('video'); return [v.videoWidth, v.videoHeight]"
    wait_for(lambda: page.execute_script(size) == [320, 240], "the video")
    played = "return document.getElementById('video').currentTime"
    before = page.execute_script(played)
    wait_for(lambda: page.execute_script(played) > before, "moving pictures")
    page.find_element("id", "rtc").click()
    wait_for(lambda: clock(page), "the MJPEG picture again")


def test_all_cameras_at_a_glance(browser: Any, film: Path, tmp_path: Path) -> None:
    words = [f"{name}={film}" for name in ("door", "desk")]
    served = Served(tmp_path, *words, "roof=/dev/video97", "--db", str(tmp_path / "e.db"))
    tile = "[...document.querySelectorAll('.tile')]"
    try:
        browser.get(served.url + "/?all")
        live = f"return {tile}.filter(t => t.querySelector('img').naturalWidth === 320).length"
        wait_for(lambda: browser.execute_script(live) == 2, "pictures of both")
        wait_for(lambda: text(browser, "connection") == "2 of 3 live", "the sum")
        said = f"return {tile}.map(t => t.innerText.replaceAll('\\n', ' ')).join('|')"
        assert "roof" in browser.execute_script(said)
        wait_for(lambda: "3 people" in browser.execute_script(said), "a tile's figures")
        first = f"return {tile}[0].querySelector('img').src"
        before = browser.execute_script(first)
        wait_for(lambda: browser.execute_script(first) != before, "a later picture")
        cameras = "return [...document.querySelectorAll('#rows .camera')].map(x => x.innerText)"
        wait_for(lambda: {"door", "desk"} <= set(browser.execute_script(cameras)), "their events")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280
        browser.execute_script(f"{tile}[1].click()")  # one of them, and back
        wait_for(lambda: text(browser, "connection") == "Live", "the one")
        checked = "return document.querySelector('[name=source]:checked').value"
        assert browser.execute_script(checked) == "desk"
        assert browser.execute_script("return document.getElementById('all').hidden")
        browser.execute_script("document.querySelector('[name=source][value=\"\"]').click()")
        wait_for(lambda: browser.execute_script(live) == 2, "all again")
        assert [x for x in browser.get_log("browser") if x["level"] == "SEVERE"] == []
        served.process.kill()
        wait_for(lambda: text(browser, "connection") == "No connection", "the loss")
    finally:
        browser.get("about:blank")
        browser.get_log("browser")
        served.end()


def test_the_keyboard_reaches_everything(page: Any) -> None:
    keys = webdriver.Keys
    seen = []
    for _ in range(16):
        page.switch_to.active_element.send_keys(keys.TAB)
        e = page.switch_to.active_element
        seen.append(e.get_attribute("id") or e.get_attribute("value") or e.text)
    assert {"camera", "pause", "full", "kind"} <= set(seen)
    radio = page.find_element("css selector", "input[value=camera]")
    radio.send_keys(keys.ARROW_RIGHT)
    wait_for(lambda: "figures.mp4" in text(page, "input"), "the film by the arrow key")


def test_device_and_precision_are_passed_on(browser: Any, server: Served) -> None:
    browser.get(f"{server.url}/?device-name=CPU&precision=FP7")
    wait_for(lambda: "FP7" in text(browser, "cover"), "the reason")
    assert text(browser, "connection") == "Failed"
    source = browser.find_element("id", "picture").get_attribute("src") or ""
    browser.get(f"{server.url}/?device-name=CPU")
    wait_for(lambda: text(browser, "connection") == "Live", "the connection")
    source = browser.find_element("id", "picture").get_attribute("src")
    assert "/camera_feed?device-name=CPU" in source
    browser.get_log("browser")  # the refused feed is in there


# questions for the list of events find no connection from here on
SHORT_PAGES = """
window.real = window.fetch;
window.fetch = (path, how) => window.real(String(path).replace("limit=100", "limit=2"), how);
const kind = document.getElementById("kind"); kind.value = "exit"; kind.onchange();
"""


def test_older_events_come_page_by_page_while_new_ones_arrive(page: Any, server: Served) -> None:
    def stored() -> int:
        exits = server.get("/api/v1/events", source="example", event="exit", limit=1000)
        return len(exits["events"])

    def rows(which: str = "") -> int:
        return int(
            page.execute_script(f"return document.querySelectorAll('#rows tr{which}').length")
        )

    def turned(before: int) -> bool:
        page.find_element("id", "older").click()
        wait_for(lambda: rows(":not(.new)") > before, "the next page")
        return bool(page.find_element("id", "older").is_displayed())

    page.execute_script("document.querySelector('input[value=example]').click()")
    wait_for(lambda: stored() > 2, "stored events")
    page.execute_script(SHORT_PAGES)
    # what happened while it was asked for is there as a new event, not as one of these two
    wait_for(lambda: page.find_element("id", "older").is_displayed(), "the first page")
    assert rows(":not(.new)") <= 2
    wait_for(lambda: rows(".new") > 2, "more new events than a page has")
    while turned(rows(":not(.new)")):
        pass
    wait_for(lambda: rows() == stored(), "every event, once")


BREAK = """
window.real = window.fetch;
window.fetch = (path, how) => String(path).includes("/events?")
  ? Promise.reject(new TypeError("broken")) : window.real(path, how);
document.querySelector("input[value=example]").click();
"""


def test_who_switches_at_once_reads_no_complaint(page: Any) -> None:
    """A connection that has not begun yet is let go again; `page` looks at what the browser says."""
    for source in ("example", "camera") * 3:
        page.execute_script(f"document.querySelector('input[value={source}]').click()")
    wait_for(lambda: text(page, "connection") == "Live", "the last connection")
    wait_for(lambda: text(page, "input").startswith("test://"), "the camera")


def test_a_list_of_events_that_never_came_is_asked_for_again(page: Any, server: Served) -> None:
    page.execute_script("document.querySelector('input[value=example]').click()")
    wait_for(lambda: server.get("/api/v1/events", source="example")["events"], "stored events")
    page.execute_script("document.querySelector('input[value=camera]').click()")
    wait_for(lambda: text(page, "input").startswith("test://"), "the camera")
    rows = "return [...document.querySelectorAll('#rows tr')].length"
    old = "return [...document.querySelectorAll('#rows tr:not(.new)')].length"
    page.execute_script(BREAK)
    wait_for(lambda: text(page, "no-events") == "broken" or page.execute_script(rows), "the break")
    assert not page.execute_script(old)
    wait_for(lambda: text(page, "connection") == "Live", "the other connection")
    # the connection ends, as when a server stops, and comes back by itself
    page.execute_script("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.execute_script("window.fetch = window.real")
    page.execute_script(
        "window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"
    )
    wait_for(lambda: page.execute_script(old), "the stored events")


def test_it_fits_a_phone_in_both_colours(page: Any) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    back = "return getComputedStyle(document.body).backgroundColor"
    try:
        wait_for(lambda: text(page, "people") == "3", "three people")
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        table = "const s = document.querySelector('.scroll'); return s.scrollWidth - s.clientWidth"
        assert page.execute_script(table) <= 0
        colours = set()
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            colours.add(page.execute_script(back))
        assert len(colours) == 2
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_hands_are_not_called_people(browser: Any, tmp_path: Path) -> None:
    served = Served(tmp_path, "test://people?size=64x48&rate=5", network="mediapipe-hand")
    words = "return [...document.querySelectorAll('[data-noun]')].map(x => x.textContent)"
    try:
        browser.get(served.url + "/")
        wait_for(lambda: text(browser, "nobody") == "No hands in view.", "the words")
        assert browser.execute_script(words) == ["Hands", "Hands", "Hand"]
        wait_for(lambda: browser.title == "0 hands · edgepose", "the title")
    finally:
        browser.get("about:blank")
        browser.get_log("browser")
        served.end()


def lasting_port() -> int:
    """A free port that no other program gets by chance while the server is away: the system gives
    those above 32767 to whoever asks for any.
    """
    for port in range(20000 + os.getpid() % 10000, 32000):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def test_it_comes_back_after_the_server_was_gone(browser: Any, tmp_path: Path) -> None:
    words = ["test://people?size=160x120&rate=15&frames=24", "--db", str(tmp_path / "e.db")]
    words += ["--port", str(lasting_port())]
    served = Served(tmp_path, *words)
    ids = "return [...document.querySelectorAll('#rows time')].map(x => x.dateTime)"
    again = None
    try:
        browser.get(served.url + "/")
        wait_for(lambda: len(browser.execute_script(ids)) >= 3, "events")
        wait_for(lambda: float(text(browser, "fps").strip("–") or 0) > 0, "figures")
        served.process.kill()
        wait_for(lambda: text(browser, "connection") == "No connection", "the loss")
        assert "No news" in text(browser, "asof")
        again = Served(tmp_path, *words)
        wait_for(lambda: text(browser, "connection") == "Live", "the return", 60)
        # what was closed at the start, while the page was away, has been filled in
        stored = {e["time"] for e in again.get("/api/v1/events", limit=1000)["events"]}
        wait_for(lambda: stored <= set(browser.execute_script(ids)), "all events")
        picture = "return document.getElementById('picture').naturalWidth"
        wait_for(lambda: browser.execute_script(picture) == 160, "the picture")
    finally:
        browser.get("about:blank")
        browser.get_log("browser")
        served.end()
        if again is not None:
            again.end()
