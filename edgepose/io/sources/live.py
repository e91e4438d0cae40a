"""Live sources: a capture thread, a mailbox for the newest frame, and supervision.

A camera or stream keeps delivering while the network is busy. One thread reads it all the time and
leaves the newest picture in a mailbox with one slot; a picture that nobody took is overwritten and
counted as dropped, so capture never waits for inference and inference never sees old frames.

The same thread supervises: it tells a lost source from one that ended, reconnects with a growing,
jittered delay and reports both. The reader of the frames is the watchdog: when nothing arrived for
`timeout` seconds (a decoder or driver stuck inside a call that no one can interrupt) it leaves the
stuck thread behind and starts another. All times are `time.monotonic()`, so a jump of the wall
clock changes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgepose.closing import Worker
from edgepose.errors import EdgeposeError, SourceDenied, SourceError, SourceLost, SourceTimeout
from edgepose.io.backoff import Backoff
from edgepose.io.base import Source, SourceOptions
from edgepose.io.sources.capture import Capture, Captured
from edgepose.types import Frame

MAX_STUCK_THREADS = 3
# cameras lock an account whose password is tried too often: so many tries more, each later than the last
MAX_DENIALS = 3
CAPTURE_CLOSE_SECONDS = 0.8
STORED_CLOSE_SECONDS = 10.0  # the end of a stored stream is worth more patience

log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What happened so far.

    Attributes:
        read: pictures that arrived. taken: handed on. dropped: overwritten before they were taken.
        late: taken more than one and a half frame times after their arrival.
        reconnects: times the source came back. stalls: times the watchdog gave up on a read.
    """

    read: int = 0
    taken: int = 0
    dropped: int = 0
    late: int = 0
    reconnects: int = 0
    stalls: int = 0

    def as_dict(self) -> dict[str, int]:
        """A plain dictionary, for events and metrics."""
        return asdict(self)


@dataclass(frozen=True)
class _Slot:
    picture: Captured
    index: int
    arrived: float


class LiveSource(Source):
    """A supervised live source whose newest frame wins; see the module's text.

    Opening waits for the first frame, so that a wrong address is an error at once; with
    `options.wait` an absent source is waited for instead (a wrong password is still an error).
    Iteration ends at the end of the stream, after `options.frames` frames, or on `close`.

    Args:
        opener: connects and returns a Capture; called again for every try. It raises SourceLost or
            SourceTimeout where the source is absent, SourceError where trying again is no use.
        denial_seconds: a source that refuses our password, while it is reconnected, is asked again so
            many seconds later, then four and nine times as many, then no more.
        options: `timeout`, `reconnect`, `reconnect_limit`, `wait`, `frames`, `on_event` are used.
        uri: what to call the source in frames, events and messages; no credentials in it.
        name: short name for `{name}`.

    Raises:
        SourceError: the source cannot be opened (SourceLost: absent, SourceTimeout: silent).
    """

    live = True
    length: int | None = None
    stills = False

    def __init__(
        self,
        opener: Callable[[], Capture],
        options: SourceOptions,
        *,
        uri: str,
        name: str = "",
        backoff: Callable[[], Backoff] = Backoff,
        denial_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.denial_seconds = denial_seconds
        self.uri = uri
        self.rate = 0.0
        self.counters = Counters()
        self._opener, self._options, self._backoff = opener, options, backoff
        self._change = threading.Condition()
        self._slot: _Slot | None = None
        self._failure: EdgeposeError | None = None
        self._ended = self._closed = self._was_connected = self._said_ended = False
        self._lost_at: float | None = None
        self._tries = 0
        self.denials = 0  # refusals of our password in a row
        self._first_arrival: float | None = None
        self._stuck: list[_Reader] = []
        self._subscriber: Callable[[], None] | None = None
        self._reader: _Reader
        self._start_reader()
        if not options.wait:
            try:
                self._wait_for_first()
            except BaseException:
                self.close()
                raise

    def counts(self) -> dict[str, dict[str, int]]:
        """The counters, by the source's name."""
        return {self.name: self.counters.as_dict()}

    # -- the taker's side ------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self._limit_taken():
                self._watch()
                slot = self._take()
                if slot is None:
                    break
                frame = self._frame(slot)
                if frame is not None:
                    yield frame
        finally:
            self._say_ended()

    def poll(self) -> Frame | None:
        """The newest frame, None where there is none now; does not wait (see `ended`).

        Raises:
            SourceError: the source is lost for good.
        """
        self._watch(wait=False)
        slot = None if self._limit_taken() else self._take()
        if slot is None:
            if self.ended:
                self._say_ended()
            return None
        return self._frame(slot)

    @property
    def ended(self) -> bool:
        """No frame will come any more."""
        with self._change:
            return self._closed or self._limit_taken() or (self._ended and self._slot is None)

    @property
    def lost(self) -> bool:
        """There is no connection now; the source may come back."""
        return self._lost_at is not None or not self._was_connected

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call back from the capture thread whenever `poll` may have news."""
        self._subscriber = callback

    def _limit_taken(self) -> bool:
        return bool(self._options.frames) and self.counters.taken >= self._options.frames

    def _take(self) -> _Slot | None:
        """The newest picture, None where there is none."""
        with self._change:
            slot, self._slot = self._slot, None
            if self._closed:
                return None
            if slot is not None:
                self._count_taken(slot)
            elif self._failure is not None:
                raise self._failure
            return slot

    def _watch(self, wait: bool = True) -> None:
        """Wait until there is a picture or none will come; the watchdog over the reader."""
        while True:
            with self._change:
                if self._slot or self._failure or self._ended or self._closed:
                    return
                deadline = self._reader.deadline
                patience = 1.0 if deadline is None else deadline - time.monotonic()
                if patience > 0:
                    if not wait:
                        return
                    self._change.wait(min(patience, 1.0))
                    continue
            self._give_up_on_reader()

    def _count_taken(self, slot: _Slot) -> None:
        self.counters.taken += 1
        if self.rate > 0 and time.monotonic() - slot.arrived > 1.5 / self.rate:
            self.counters.late += 1

    def _frame(self, slot: _Slot) -> Frame | None:
        """The frame of a picture, None where the picture is damaged: the next one may not be."""
        if self._first_arrival is None:
            self._first_arrival = slot.arrived
        pts = slot.picture.pts
        try:
            pixels = slot.picture.load()
        except SourceError as e:
            log.debug("%s: %s", self.uri, e)
            return None
        return Frame(
            pixels=pixels,
            index=slot.index,
            pts=slot.arrived - self._first_arrival if pts is None else pts,
            source=self.uri,
            name=self.name,
            captured=slot.arrived,
        )

    def _wait_for_first(self) -> None:
        self._watch()
        if self._failure is not None and self._slot is None:
            raise self._failure

    # -- supervision -----------------------------------------------------------------------------
    def _start_reader(self, pause: float = 0.0) -> None:
        with self._change:
            if not self._closed:
                self._reader = _Reader(self, pause)
                self._reader.start()

    def _give_up_on_reader(self) -> None:
        """The reader hangs inside a call that cannot be interrupted: go on without it."""
        self._stuck = [r for r in self._stuck if r.is_alive()]
        old, seconds = self._reader, self._options.timeout
        old.interrupt()
        if len(self._stuck) >= MAX_STUCK_THREADS:
            old.deadline = time.monotonic() + seconds
            return
        self.counters.stalls += 1
        old.stopped.set()
        self._stuck.append(old)
        error = SourceTimeout(
            f"{self.uri}: nothing arrived for {seconds:g} s. Check the source, "
            "or allow more with --timeout."
        )
        if self.on_lost(old, error):
            self._start_reader(pause=old.backoff.delay())

    def on_connected(self, reader: _Reader, rate: float) -> None:
        """The reader has a connection."""
        with self._change:
            if reader is self._reader:
                self.rate = rate

    def on_arrived(self, reader: _Reader, picture: Captured) -> bool:
        """Put a picture into the slot; False when the reader is no longer wanted."""
        now = time.monotonic()
        with self._change:
            if reader is not self._reader or self._closed:
                return False
            if self._slot is not None:
                self.counters.dropped += 1
            self._slot = _Slot(picture, self.counters.read, now)
            self.counters.read += 1
            news = self._news_of_arrival(now)
            self._wake()
        if news is not None:
            self._say(news)
        return True

    def _news_of_arrival(self, now: float) -> dict[str, Any] | None:
        if not self._was_connected:
            self._was_connected = True
            self._tries = 0
            return {"event": "connected"}
        if self._lost_at is None:
            return None
        self.counters.reconnects += 1
        news = {"event": "back", "after": round(now - self._lost_at, 3), "tries": self._tries}
        self._lost_at, self._tries = None, 0
        return news

    def on_lost(self, reader: _Reader, error: EdgeposeError) -> bool:
        """A connection broke or could not be made; True when the reader shall try again."""
        with self._change:
            if reader is not self._reader or self._closed:
                return False
            self._tries += 1
            self.denials = self.denials + 1 if isinstance(error, SourceDenied) else 0
            again = self._may_try_again(error)
            if not again:
                self._failure = self._final(error)
            news = None
            if self._was_connected and self._lost_at is None:
                self._lost_at = time.monotonic()
                news = {"event": "lost", "error": str(error), "reconnect": again}
            elif not self._was_connected and again and self._tries == 1:
                news = {"event": "waiting", "error": str(error)}
            self._wake()
        if news is not None:
            self._say(news)
        return again

    def _may_try_again(self, error: EdgeposeError) -> bool:
        options = self._options
        if not isinstance(error, SourceError):
            return False
        if not self._was_connected:
            absent = isinstance(error, SourceLost | SourceTimeout)
            return options.wait and absent and not self._limit_reached()
        if self.denials > MAX_DENIALS:
            return False
        return options.reconnect and not self._limit_reached()

    def _limit_reached(self) -> bool:
        limit = self._options.reconnect_limit
        return bool(limit) and self._tries > limit

    def _final(self, error: EdgeposeError) -> EdgeposeError:
        if not self._limit_reached():
            return error
        return SourceLost(
            f"{self.uri} did not come back after {self._options.reconnect_limit} tries; "
            f"the last one said: {error}"
        )

    def on_ended(self, reader: _Reader) -> None:
        """The stream came to its end."""
        with self._change:
            if reader is self._reader:
                self._ended = True
                self._wake()

    def on_broken(self, reader: _Reader, error: EdgeposeError) -> None:
        """An error that no second try can mend."""
        with self._change:
            if reader is self._reader:
                self._failure = error
                self._wake()

    def _wake(self) -> None:
        """Tell the taker that something changed (called with the lock held)."""
        self._change.notify_all()
        if self._subscriber is not None:
            self._subscriber()

    def _say(self, news: dict[str, Any]) -> None:
        if self._options.on_event is not None:
            self._options.on_event({**news, "source": self.uri, "name": self.name})

    def _say_ended(self) -> None:
        with self._change:
            first, self._said_ended = not self._said_ended, True
        if first and self._was_connected:
            self._say({"event": "ended", **self.counters.as_dict()})

    # -- the end ---------------------------------------------------------------------------------
    def close(self) -> None:
        """Stop within a second, from any thread; a reader stuck in a call ends when that returns.

        With --input-save the stored file is whole afterwards.
        """
        with self._change:
            self._closed = True
            reader = self._reader
            reader.stopped.set()
            self._wake()
        reader.interrupt()
        if reader is not threading.current_thread():
            reader.join(STORED_CLOSE_SECONDS if self._options.save else CAPTURE_CLOSE_SECONDS)
        self._slot = None


class _Reader(Worker):
    """The capture thread: connect, read, reconnect, until stopped.

    `deadline`: when the watchdog gives up on it; None while it pauses between tries.
    """

    def __init__(self, source: LiveSource, pause: float) -> None:
        name = f"capture {source.name or source.uri}"
        super().__init__(self._supervise, name, stop=source.close)
        self.deadline: float | None = None
        self.backoff = source._backoff()
        self._source, self._pause = source, pause
        self._timeout = source._options.timeout
        self._capture: Capture | None = None
        self._delivers_since = 0.0  # when the connection gave its first picture; 0 before
        if not pause:
            self._expect()

    def _expect(self) -> None:
        self.deadline = time.monotonic() + self._timeout

    def _supervise(self) -> None:
        source, pause = self._source, self._pause
        while not self.stopped.wait(pause):
            self._expect()
            self._delivers_since = 0.0
            try:
                if self._read_until_the_end():
                    source.on_ended(self)
                return
            except SourceError as e:
                error = e
            except EdgeposeError as e:
                source.on_broken(self, e)
                return
            except Exception as e:  # in a thread that nobody else watches
                error = SourceError(f"{source.uri}: {type(e).__name__}: {e}")
            self.deadline = None
            if not source.on_lost(self, error):
                return
            if self._delivers_since:
                self.backoff.lived(time.monotonic() - self._delivers_since)
            pause = self.backoff.delay() + source.denials**2 * source.denial_seconds

    def _read_until_the_end(self) -> bool:
        """True at the end of the stream, False when nobody wants more."""
        capture = self._capture = self._source._opener()
        try:
            self._source.on_connected(self, capture.rate)
            while not self.stopped.is_set():
                picture = capture.read()
                if picture is None:
                    return True
                self._expect()
                self._delivers_since = self._delivers_since or time.monotonic()
                if not self._source.on_arrived(self, picture):
                    return False
            return False
        finally:
            self._capture = None
            capture.close()

    def interrupt(self) -> None:
        capture = self._capture
        if capture is not None:
            capture.interrupt()
