"""The collector's page in a real browser."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broker import Broker, wait_for
from fleet_peers import Running, drained, link, record
from served import text

pytest.importorskip("starlette", reason="the serve extra is not installed")

CELLS = """return [...document.querySelectorAll(arguments[0] + ' tr')].map(
  (row) => [...row.children].map((cell) => cell.innerText.trim()))"""


def cells(browser: Any, body: str) -> list[list[str]]:
    return browser.execute_script(CELLS, f"#{body}")  # type: ignore[no-any-return]


def wait(browser: Any, condition: Callable[[], Any], what: str) -> Any:
    """The first true value of a condition, on a page that is asked to look again meanwhile."""

    def look() -> Any:
        browser.execute_script("document.dispatchEvent(new Event('visibilitychange'))")
        time.sleep(0.2)
        return condition()

    return wait_for(look, what)


def press(browser: Any, what: str) -> None:
    browser.find_element("css selector", what).click()


@pytest.mark.slow
def test_devices_and_events_are_shown(browser: Any, tmp_path: Path) -> None:
    broker = Broker(tmp_path).start()
    record(tmp_path / "events.db", 60)
    where = f"mqtt://127.0.0.1:{broker.port}"
    running = Running(
        tmp_path, where, "--store", str(tmp_path / "fleet.db"), "--listen", "127.0.0.1:0"
    )
    sources = [{"name": "door", "up": True, "fps": 14.5}, {"name": "desk", "up": False, "fps": 0}]
    told = {"version": "<b>1</b>", "sources": sources}
    try:
        browser.get(running.url + "/")
        wait_for(lambda: text(browser, "none"), "the page")
        with link(broker, tmp_path / "events.db", "cam-p", state=lambda: told) as device:
            drained(device)
            figures = ["14.5", "1 of 2", "0"]
            wait(
                browser,
                lambda: [r[3:6] for r in cells(browser, "devices")] == [figures],
                "the device, and that nothing waits there",
            )
            (row,) = cells(browser, "devices")
            assert row[:2] == ["cam-p", "up"]
            assert row[7] == "<b>1</b>"  # text of others is text
            assert text(browser, "count") == "1 up"
            wait(browser, lambda: len(cells(browser, "events")) == 50, "the newest events")
            press(browser, "#older")
            wait_for(lambda: len(cells(browser, "events")) == 60, "older ones")
            tracks = [line[2] for line in cells(browser, "events")]
            assert tracks == [f"#{n}" for n in reversed(range(60))]
            # what comes is shown by itself, and nothing twice
            record(tmp_path / "events.db", 2, 60)
            wait(browser, lambda: len(cells(browser, "events")) == 62, "what has come")
            assert [line[2] for line in cells(browser, "events")][:3] == ["#61", "#60", "#59"]
            browser.find_element("name", "device").send_keys("cam-q")
            press(browser, "#filter button")
            wait_for(lambda: text(browser, "no-events") == "No such events.", "none of another")
        wait(browser, lambda: cells(browser, "devices")[0][1] == "offline", "its end")
        broker.kill()
        wait(browser, lambda: text(browser, "store") == "No broker", "the broker's end")
        said = [x for x in browser.get_log("browser") if x["level"] in ("SEVERE", "WARNING")]
        assert said == [], json.dumps(said)
    finally:
        broker.kill()
        assert running.end() == 0, "".join(running.said)
    # figures of a server that is gone are no figures of now
    wait(browser, lambda: browser.execute_script("return 'stale' in document.body.dataset"), "grey")
    browser.get("about:blank")
    browser.get_log("browser")
