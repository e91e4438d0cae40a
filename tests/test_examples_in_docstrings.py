"""The `>>>` examples in the docstrings of the public classes work as they stand."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("edgepose.types", "edgepose.track.tracker")


@pytest.mark.parametrize("name", MODULES)
def test_examples_work(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0, "no example is left"
    assert failed == 0
