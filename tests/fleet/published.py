"""The published schema of a fleet's messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import edgepose.fleet

SCHEMA = Path(edgepose.fleet.__file__).with_name("messages.schema.json")


def check_messages(messages: list[tuple[str, bytes, bool]], device: str) -> set[str]:
    """Validate what a device and the centre said to each other; the kinds that were there."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(SCHEMA.read_text())
    found: dict[str, list[Any]] = {}
    for topic, payload, _ in messages:
        if topic.startswith(f"edgepose/v1/{device}/"):
            found.setdefault(topic.rpartition("/")[2], []).append(json.loads(payload))
    for kind, said in found.items():
        assert kind in schema["$defs"], kind
        check = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", **schema})
        for message in said:
            check.validate(message)
    return set(found)
