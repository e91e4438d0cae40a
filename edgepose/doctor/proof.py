"""One line of the self-test: what was tried, what came out, and the bound it was held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edgepose.errors import BackendUnavailable, EdgeposeError

ProofState = Literal["ok", "fail", "absent"]


@dataclass(frozen=True)
class Proof:
    """One line.

    Attributes:
        name: what was tried.
        state: ok = within its bounds; fail = not; absent = cannot run here, `found` says why.
        found: for people.
        bound: what was asked of it, for people.
        figures: the numbers behind it.
    """

    name: str
    state: ProofState
    found: str
    bound: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: such a figure is None."""
        figures = {k: v if math.isfinite(v) else None for k, v in self.figures.items()}
        return asdict(self) | {"figures": figures}


def attempt(name: str, prove: Callable[[], Proof]) -> Proof:
    """What `prove` returns; a missing backend is "absent", every other error a failed proof."""
    try:
        return prove()
    except BackendUnavailable as e:
        return Proof(name, "absent", str(e))
    except EdgeposeError as e:
        return Proof(name, "fail", str(e))
    except Exception as e:  # a self-test reports what it meets
        return Proof(name, "fail", f"{type(e).__name__}: {e}")
