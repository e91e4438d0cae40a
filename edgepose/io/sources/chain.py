"""Several files one after the other, as one source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from edgepose.errors import SourceError
from edgepose.io.base import Source, SourceOptions, load
from edgepose.types import Frame

# imported when it is used: with it comes OpenCV
_JOINED = {"pictures": "edgepose.io.sources.images:ImageSource"}


def in_turn(sources: Sequence[Source], options: SourceOptions) -> Source:
    """Several files as one source: pictures as one list, so that --start, --frames and --loop mean
    the whole of it, anything else as a `Chain`."""
    pictures = [s for s in sources if s.stills and s.paths]
    if len(pictures) < len(sources):
        return Chain(sources, on_error=options.on_error)
    paths = [path for source in pictures for path in source.paths]
    joined: Source = load(_JOINED, "pictures", "source")(
        paths, pictures[0].name, options, many=True
    )
    return joined


class Chain(Source):
    """The frames of several sources in turn.

    Still pictures are numbered on from source to source; frames of films keep their own numbers.

    Args:
        sources: files; live sources never end and cannot be chained.
        on_error: called with (path, error) for a broken source, which is then skipped; None = raise.
    """

    live = False

    def __init__(
        self,
        sources: Sequence[Source],
        on_error: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self._sources = list(sources)
        self._on_error = on_error
        lengths = [s.length for s in sources]
        self.length = sum(n for n in lengths if n) if all(n is not None for n in lengths) else None
        self.rate = next((s.rate for s in sources if s.rate), 0.0)
        self.name = sources[0].name if sources else ""
        self.stills = all(s.stills for s in sources)

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        for source in self._sources:
            try:
                for frame in source:
                    yield replace(frame, index=index) if self.stills else frame
                    index += 1
            except SourceError as e:
                if self._on_error is None:
                    raise
                self._on_error(source.name, e)
            finally:
                source.close()

    def close(self) -> None:
        """Close all sources."""
        for source in self._sources:
            source.close()
