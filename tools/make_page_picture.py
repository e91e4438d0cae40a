"""Make docs/images/page.jpg: the page of `edgepose serve` in headless Chromium, watching a film.

python tools/make_page_picture.py FILM [--seconds 27] [--out docs/images/page.jpg]

The picture in the repository shows one-by-one-person-detection.mp4 of Intel's sample videos (CC BY 4.0,
https://github.com/intel-iot-devkit/sample-videos). It needs chromium and chromedriver, and the extras
serve and test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
from selenium import webdriver

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "serve"))

from served import Served, wait_for  # noqa: E402

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
WIDE, HIGH, SMALL = 1280, 826, 900  # of the window, and pixels across in the end
ZONES = {
    "zones": [
        {"name": "table", "polygon": [[0.4, 0.42], [0.7, 0.42], [0.72, 0.88], [0.38, 0.88]]},
        {"name": "door", "line": [[0.14, 0.5], [0.14, 0.97]], "right": "out", "left": "in"},
    ]
}


def browser(profile: str) -> Any:
    """Chromium in a window of our size."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def shoot(film: str, seconds: float, out: Path) -> None:
    """Watch the film for some seconds, from its start, and keep what the page shows then."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "zones.json").write_text(json.dumps(ZONES))
        words = ("--zones", str(home / "zones.json"), "--db", str(home / "e.db"), "--snapshots")
        served = Served(home, f"hall={film}", *words, network="")
        page = browser(str(home / "profile"))
        try:
            size = {"width": WIDE, "height": HIGH, "deviceScaleFactor": 1, "mobile": False}
            page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            page.get(served.url)
            label = "return document.getElementById('connection').innerText"
            wait_for(lambda: page.execute_script(label) == "Live", "the film")
            time.sleep(seconds)
            page.save_screenshot(str(home / "page.png"))
            picture = cv2.imread(str(home / "page.png"))
        finally:
            page.quit()
            served.end()
    small = cv2.resize(picture, (SMALL, SMALL * HIGH // WIDE), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(out), small, [cv2.IMWRITE_JPEG_QUALITY, 88])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film")
    parser.add_argument("--seconds", type=float, default=27)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "page.jpg")
    options = parser.parse_args()
    out = options.out.resolve()
    film = Path(options.film).resolve()
    os.chdir(film.parent)  # the page shows the film as it is named here
    shoot(film.name, options.seconds, out)


if __name__ == "__main__":
    main()
