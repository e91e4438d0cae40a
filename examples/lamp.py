"""A lamp by hand sign over MQTT: an open hand switches it on, a fist off. See docs/lamp.md.

usage: python examples/lamp.py HOST TOPIC LAMP [PORT], for example: localhost camera lamp/set
"""

import json
import sys
from contextlib import suppress

import paho.mqtt.client as mqtt

WORDS = {"open_hand": "ON", "fist": "OFF"}


def main(host, topic, lamp, port=1883):
    def heard(client, _, message):
        told = json.loads(message.payload)
        word = WORDS.get(told["gesture"])
        if told["event"] == "begin" and word:
            client.publish(lamp, word, qos=1, retain=True)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe(f"{topic}/gestures", qos=1)
    client.on_subscribe = lambda *_: print("Show an open hand or a fist.", flush=True)
    client.on_message = heard
    client.connect(host, int(port))
    client.loop_forever()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    with suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
