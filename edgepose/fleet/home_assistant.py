"""What Home Assistant's MQTT discovery wants to be told: one retained message for each sensor.

Format: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery (single components, which every version of
it reads): `homeassistant/COMPONENT/OBJECT_ID/config`, letters, digits, `_` and `-` in the object id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from edgepose.version import __version__

PREFIX = "homeassistant"


def discovery(
    topic: str, status: str, camera: str = "", zones: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """The messages of one camera by their topics: people, camera up, and occupancy of each zone.

    Args:
        topic: of the camera; `TOPIC/state` has what the sensors show.
        status: the topic that says online or offline. camera: its name for people.
        zones: names of polygons.
    """
    node = _safe(topic)
    name = camera or topic.replace("/", " ")
    shared = {
        "state_topic": f"{topic}/state",
        "availability_topic": status,
        "device": {
            "identifiers": [node],
            "name": name,
            "manufacturer": "edgepose",
            "model": "edgepose",
            "sw_version": __version__,
        },
        "origin": {"name": "edgepose", "sw_version": __version__},
    }
    people = {
        "name": "People",
        "value_template": "{{ value_json.people }}",
        "state_class": "measurement",
        "icon": "mdi:account-group",
    }
    up = {"name": "Camera", "device_class": "connectivity", "entity_category": "diagnostic"}
    sensors = {
        "sensor": {"people": people},
        "binary_sensor": {"up": {**up, **_on("value_json.up")}},
    }
    for zone in zones:
        occupied = _on(f"value_json.zones[{json.dumps(zone, ensure_ascii=False)}]")
        about = {"name": zone, "device_class": "occupancy", **occupied}
        sensors["binary_sensor"][f"zone_{_safe(zone)}"] = about
    return {
        f"{PREFIX}/{component}/{node}_{key}/config": {
            **shared,
            **about,
            "unique_id": f"{node}_{key}",
        }
        for component, found in sensors.items()
        for key, about in found.items()
    }


def _on(condition: str) -> dict[str, str]:
    return {"value_template": "{{ 'ON' if " + condition + " else 'OFF' }}"}


def _safe(text: str) -> str:
    """A text of letters, digits and _, different for different texts."""
    plain = re.sub(r"[^a-zA-Z0-9]+", "_", text).strip("_").lower()[:40]
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("_")
