"""What a broker's acknowledgement is worth, with the same crash for both ways of sending."""

from __future__ import annotations

from pathlib import Path

from broker import Broker, Subscriber, need_mosquitto, wait_for

from edgepose.io.sinks.mqtt import MqttSink
from edgepose.types import Result

COUNT = 20


def test_what_a_killed_broker_had_acknowledged_is_gone(tmp_path: Path) -> None:
    """`posenet --mqtt '...?qos=1&spool=FILE'` holds no longer than its broker lives, persistence or not."""
    need_mosquitto()
    lines = ("persistence true", f"persistence_location {tmp_path}/", "autosave_interval 1800")
    broker = Broker(tmp_path, *lines).start()
    Subscriber(broker.port, "keeps").close()  # away, but the broker keeps messages for it
    target = f"{broker.url('door')}?qos=1&spool={tmp_path / 'spool'}"
    with MqttSink(target) as sink:
        for frame in range(COUNT):
            sink.write(Result(frame, 8, 8, ()))
        wait_for(lambda: sink.sent == COUNT, "every acknowledgement")
        assert sink.counters["waiting"] == 0
    broker.kill()
    broker.start()
    late = Subscriber(broker.port, "keeps")
    late.client.publish("after", b"x", qos=1).wait_for_publish(5)
    wait_for(lambda: late.texts("after"), "what came after the crash")
    assert late.frames("door") == []  # 20 were acknowledged
    late.close()
    broker.kill()


def test_while_the_broker_lives_it_keeps_them(tmp_path: Path) -> None:
    """The same without a crash: all 20 come, so that the test above loses them to the crash alone."""
    broker = Broker(tmp_path).start()
    Subscriber(broker.port, "keeps").close()
    with MqttSink(f"{broker.url('door')}?qos=1") as sink:
        for frame in range(COUNT):
            sink.write(Result(frame, 8, 8, ()))
        wait_for(lambda: sink.sent == COUNT, "every acknowledgement")
    late = Subscriber(broker.port, "keeps")
    wait_for(lambda: len(late.frames("door")) == COUNT, "what was kept")
    late.close()
    broker.kill()
