"""What can go wrong, as a tree, and the exit code each branch ends in.

    EdgeposeError                    exit 1
    ├── UsageError (ValueError)      exit 2   an option, name or combination that cannot be meant
    │   └── UnknownNameError         exit 2   with a "did you mean"
    ├── NetworkFileError             exit 1   manifest, topology, colours or weights unusable
    ├── DownloadError (OSError)      exit 1   a file could not be fetched or did not verify
    ├── EngineError (RuntimeError)   exit 1   an engine could not be loaded, built or run
    │   └── BackendUnavailable       exit 1   a package or device that the engine needs is missing
    ├── SourceError (OSError)        exit 1   an input cannot be opened or read
    │   ├── SourceLost               exit 1   a live source went away (not the same as its end)
    │   ├── SourceTimeout            exit 1   nothing arrived in time
    │   └── SourceDenied             exit 1   a wrong or missing user name or password
    ├── OutputError (OSError)        exit 1   an output or sink cannot be opened or written
    ├── StoreError (OSError)         exit 1   the database of events cannot be opened, read or written
    └── Interrupted                  exit 130 Ctrl-C or SIGTERM

Exit codes: 0 done, 1 failed, 2 usage, 3 partly done (some inputs failed), 130 interrupted.
Messages say what was asked, what was found and what to do, in one or two lines.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edgepose.machine import package_versions

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTLY = 3
EXIT_INTERRUPTED = 130


class EdgeposeError(Exception):
    """Base of every error that a user can cause; the command line prints it without a traceback."""

    exit_code = EXIT_FAILED


class UsageError(EdgeposeError, ValueError):
    """An option, a name or a combination of them that cannot be meant."""

    exit_code = EXIT_USAGE


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is probably meant; None where none is near."""
    by_word = {n.lower().lstrip("-"): n for n in known}  # two dashes make nothing alike
    word = name.lower().lstrip("-")
    near = difflib.get_close_matches(word, list(by_word), n=1, cutoff=0.6)
    begin = (w for w in by_word if len(word) >= 3 and w.startswith(word))
    near = near or sorted(begin, key=len)
    return by_word[near[0]] if near else None


class UnknownNameError(UsageError):
    """A name that is not in a known list; the message suggests the nearest.

    Args:
        what: kind of thing, for example "network" or "overlay word".
        name: what was asked for.
        known: the names that exist.
        hint: a sentence about what to do, appended when nothing is near.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = list(known)
        original = nearest(name, names)
        advice = f"Did you mean {original!r}?" if original else hint
        # a long list helps nobody who already has the right name before them
        listing = (
            f"Known: {', '.join(names)}." if names and not (original and len(names) > 12) else ""
        )
        super().__init__(" ".join(p for p in (f"Unknown {what} {name!r}.", advice, listing) if p))
        self.name = name


class NetworkFileError(EdgeposeError, ValueError):
    """A manifest, topology, colour table or weights file cannot be used."""


class DownloadError(EdgeposeError, OSError):
    """A file could not be fetched, or what came did not verify."""


class EngineError(EdgeposeError, RuntimeError):
    """An engine could not be loaded, built or run."""


class BackendUnavailable(EngineError):
    """A package, driver or device that a backend needs is missing."""


class SourceError(EdgeposeError, OSError):
    """An input cannot be opened or read."""


class SourceLost(SourceError):
    """A live source went away; unlike the end of a file, it may come back."""


class SourceTimeout(SourceError):
    """A source delivered nothing within the time allowed."""


class SourceDenied(SourceError):
    """A source asks for another user name or password; who tries too often locks the account."""


class OutputError(EdgeposeError, OSError):
    """An output or a sink cannot be opened or written."""


class StoreError(EdgeposeError, OSError):
    """The database of events cannot be opened, read or written."""


# what a package built for numpy 1 raises beside numpy 2, and the other way round
_OTHER_NUMPY = (
    "numpy.core.multiarray failed to import",
    "numpy._core.multiarray failed to import",
    "_ARRAY_API not found",
    "compiled using NumPy",
    "numpy.dtype size changed",
    "Numpy is not available",
    "raised unreported exception",  # of a module that does not look at what import_array() answers
)


def built_for_other_numpy(error: BaseException, package: str) -> str:
    """Cause and remedy where a package fails as it was built for another numpy, else ""."""
    if not any(words in str(error) for words in _OTHER_NUMPY):
        return ""
    here = package_versions(["numpy"])["numpy"]
    other = "'numpy<2'" if int(here.partition(".")[0]) >= 2 else "'numpy>=2'"
    return (
        f"{package} was built for another numpy than the {here} that is installed; run "
        f"`pip install {other}`, or install a {package} built for numpy {here}"
    )


class Interrupted(EdgeposeError):
    """The user asked to stop (Ctrl-C, SIGTERM)."""

    exit_code = EXIT_INTERRUPTED


def printable(text: str, most: int = 300) -> str:
    """What another machine said, without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
