"""`display://0`: a window (SDL through pygame-ce, the extra `window`).

The window lives in a thread of its own, which also answers the keyboard: drawing never waits for
inference and a slow display holds nothing up. Esc, q or closing the window ends the window; the
program runs on without it (`closed` tells).
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from edgepose.errors import OutputError
from edgepose.io import jetson_utils
from edgepose.io.base import Output, OutputOptions
from edgepose.io.outputs.jetson import open_jetson
from edgepose.io.uri import Uri
from edgepose.types import Frame

OPEN_SECONDS = 10.0
WINDOW_POLL_SECONDS = 0.02


def has_display() -> bool:
    """A display server to open a window on (X11, Wayland) or SDL's own choice of one."""
    return any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))


class WindowOutput(Output):
    """A resizable window with the newest frame, its aspect kept; several sources make a grid.

    Attributes:
        closed: the user closed it; frames are ignored from then on.

    Raises:
        OutputError: no display, no pygame, or the window cannot be opened.
    """

    drops = True
    closed = False

    def __init__(self, uri: Uri, options: OutputOptions) -> None:
        self._shown = uri.display
        self._size = (options.width, options.height)
        self._stop = False
        self._frames: dict[tuple[str, str], Frame] = {}
        self._fresh = False
        self._title = "edgepose"
        self._lock = threading.Lock()
        self._error: OutputError | None = None
        if not has_display():
            raise OutputError(
                f"{self._shown}: there is no display (DISPLAY and WAYLAND_DISPLAY are not set). "
                "Name another output, or use --headless."
            )
        try:
            os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
            import pygame  # noqa: F401
        except ImportError:
            raise OutputError(
                f"{self._shown} needs pygame-ce. Install it: pip install edgepose[window]"
            ) from None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="window", daemon=True)
        self._thread.start()
        if not self._opened.wait(OPEN_SECONDS):
            self._stop = True
            raise OutputError(f"{self._shown} did not open within {OPEN_SECONDS:g} s.")
        if self._error is not None:
            raise self._error

    def write(self, frame: Frame) -> None:
        """Show a frame soon."""
        with self._lock:
            self._frames[frame.name, frame.source] = frame
            self._fresh = True

    def status(self, text: str) -> None:
        """Set the title."""
        with self._lock:
            self._title = text

    # in the window's thread -----------------------------------------------------------------------
    def _run(self) -> None:
        import pygame

        try:
            pygame.display.init()
            if pygame.display.get_driver() in ("dummy", "offscreen") and not _asked_for_dummy():
                raise pygame.error("SDL found no display")
            screen = pygame.display.set_mode(
                (self._size[0] or 1280, self._size[1] or 720), pygame.RESIZABLE
            )
            pygame.display.set_caption(self._title)
        except pygame.error as e:
            self._error = OutputError(f"{self._shown} cannot be opened: {e}. Use --headless.")
            pygame.display.quit()
            self._opened.set()
            return
        self._opened.set()
        try:
            self._loop(pygame, screen)
        finally:
            pygame.display.quit()

    def _loop(self, pygame: Any, screen: Any) -> None:
        shown_size, title = None, ""
        while not self._stop:
            if any(_means_close(pygame, event) for event in pygame.event.get()):
                self.closed = True
                return
            with self._lock:
                frames, fresh = list(self._frames.values()), self._fresh
                self._fresh, wanted = False, self._title
            screen = pygame.display.get_surface()
            if wanted != title:
                title = wanted
                pygame.display.set_caption(title)
            if frames and (fresh or screen.get_size() != shown_size):
                shown_size = screen.get_size()
                _draw(pygame, screen, frames)
            else:
                time.sleep(WINDOW_POLL_SECONDS)

    def close(self) -> None:
        """Close the window."""
        self._stop = True
        if self._thread is not threading.current_thread():
            self._thread.join(2)


def _asked_for_dummy() -> bool:
    return os.environ.get("SDL_VIDEODRIVER", "") in ("dummy", "offscreen")


def _means_close(pygame: Any, event: Any) -> bool:
    if event.type == pygame.QUIT:
        return True
    return event.type == pygame.KEYDOWN and event.key in (pygame.K_ESCAPE, pygame.K_q)


def grid(count: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """(left, top, width, height) of `count` cells that fill an area, nearly square in number."""
    columns = max(1, round(count**0.5 + 0.4999))
    rows = -(-count // columns)
    return [
        (
            (i % columns) * width // columns,
            (i // columns) * height // rows,
            (i % columns + 1) * width // columns - (i % columns) * width // columns,
            (i // columns + 1) * height // rows - (i // columns) * height // rows,
        )
        for i in range(count)
    ]


def _draw(pygame: Any, screen: Any, frames: list[Frame]) -> None:
    screen.fill((0, 0, 0))
    width, height = screen.get_size()
    for frame, (left, top, w, h) in zip(frames, grid(len(frames), width, height), strict=True):
        scale = min(w / frame.width, h / frame.height)
        size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
        picture = pygame.image.frombuffer(
            frame.pixels.tobytes(), (frame.width, frame.height), "RGB"
        )
        if size != (frame.width, frame.height):
            picture = pygame.transform.scale(picture, size)
        screen.blit(picture, (left + (w - size[0]) // 2, top + (h - size[1]) // 2))
    pygame.display.flip()


def open_window(uri: Uri, options: OutputOptions) -> Output:
    """Open a window.

    Raises:
        OutputError: no display, no pygame-ce, or SDL cannot open it.
    """
    utils = jetson_utils.wanted()
    if utils is not None:
        return open_jetson(utils, uri, options)
    return WindowOutput(uri, options)
