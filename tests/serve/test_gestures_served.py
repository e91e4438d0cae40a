"""Gestures of a real server: in the API, in the metrics, and on the page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, text, wait_for


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Served]:
    """A film that is shown again and again: what begins in it ends with it."""
    home = tmp_path_factory.mktemp("gestures")
    words = (str(film), "--gestures", "builtin", "--always")
    made = Served(home, *words, "--db", str(home / "events.db"), network="movenet-multipose")
    yield made
    assert made.end() == 0, "".join(made.said)


def events(served: Served, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.get("/api/v1/events", limit=1000, **query)["events"]
    return found


def test_the_api_and_the_metrics_tell_gestures(served: Served) -> None:
    wait_for(lambda: events(served, event="end", gesture="standing"), "the end of a gesture", 60)
    told = events(served, gesture="standing")
    assert {e["event"] for e in told} == {"begin", "end"}
    assert all(0 < e["score"] <= 1 and e["track"] is not None for e in told)
    assert all(e["dwell"] >= 0 for e in told if e["event"] == "end")
    assert {e["gesture"] for e in events(served, event="enter")} == {""}
    assert events(served, gesture="thumb_up") == []
    inside = wait_for(lambda: served.state("camera")["inside"], "people in view")
    assert all(isinstance(person["gestures"], list) for person in inside)
    counted = served.http.get("/metrics").text
    assert "edgepose_gestures_total{" in counted
    assert 'gesture="standing"' in counted


def test_the_page_tells_gestures(browser: Any, served: Served) -> None:
    browser.get(served.url + "/")
    wait_for(lambda: text(browser, "connection") == "Live", "the connection")
    wait_for(lambda: "standing" in text(browser, "inside"), "what people do", 60)
    rows = "return [...document.querySelectorAll('#rows tr')].map(x => x.innerText)"
    wait_for(
        lambda: any(
            "begin standing" in row and "% sure" in row for row in browser.execute_script(rows)
        ),
        "its row",
    )
    browser.execute_script(
        "const k = document.getElementById('kind'); k.value = 'end'; k.onchange();"
    )
    shown = "return [...document.querySelectorAll('#rows .what')].map(x => x.innerText)"
    told = wait_for(lambda: browser.execute_script(shown), "ends")
    assert all(word.startswith("end ") for word in told)
