"""A lamp by hand sign: an open hand switches it on, a fist off.

    posenet /dev/video0 --network hand --gestures open_hand,fist --mqtt mqtt://localhost/camera --headless

usage: python examples/lamp.py HOST TOPIC LAMP [PORT], for example: localhost camera lamp/set

Listens to TOPIC/gestures and publishes ON or OFF to the lamp's topic, as Zigbee2MQTT, Tasmota and others take it.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import paho.mqtt.client as mqtt

WORDS = {"open_hand": "ON", "fist": "OFF"}


def main(host: str, topic: str, lamp: str, port: int = 1883) -> None:
    """Switch the lamp until Ctrl-C."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)

    def connected(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(f"{topic}/gestures", qos=1)
        print("Show an open hand or a fist.", flush=True)

    def heard(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        told = json.loads(message.payload)
        word = WORDS.get(told["gesture"])
        if told["event"] == "begin" and word:
            print(f"{told['gesture']}: {word}", flush=True)
            client.publish(lamp, word, qos=1, retain=True)

    client.on_connect, client.on_message = connected, heard
    client.connect(host, port)
    client.loop_forever()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:4], *map(int, sys.argv[4:]))
