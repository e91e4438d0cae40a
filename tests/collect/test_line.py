"""The collector's line to the broker: packets however they are cut, and what it does with what is none."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from broker import Broker, Subscriber, free_port, wait_for
from fleet_peers import drained, link, record
from hypothesis import given
from hypothesis import strategies as st

from edgepose.collect.line import MOST_PACKET, PUBLISH, Line, Message, Packets, packet, text
from edgepose.collect.receive import ReceivePace, Receiver
from edgepose.collect.store import Stored
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.errors import OutputError
from edgepose.io.mqtt import broker_of

BODIES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


@given(BODIES, st.lists(st.integers(0, 3000), max_size=6))
def test_packets_are_the_same_however_they_are_cut(
    bodies: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    whole = b"".join(packet(first, body) for first, body in bodies)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    reader = Packets()
    found = [p for a, b in itertools.pairwise(edges) for p in reader.feed(whole[a:b])]
    assert found == bodies


@pytest.mark.parametrize("piece", [1000, MOST_PACKET, 10 * MOST_PACKET])
def test_of_a_packet_that_is_too_long_the_beginning_is_kept(piece: int) -> None:
    long = bytes(range(256)) * (3 * MOST_PACKET // 256)
    whole = packet(0x32, b"a") + packet(0x32, long) + packet(0x30, b"b")
    reader = Packets()
    found = [p for at in range(0, len(whole), piece) for p in reader.feed(whole[at : at + piece])]
    assert found == [(0x32, b"a"), (0x32, long[:MOST_PACKET]), (0x30, b"b")]


def test_a_length_that_is_none() -> None:
    with pytest.raises(ValueError, match="does not speak MQTT"):
        Packets().feed(b"\x30\xff\xff\xff\xff\x01")


def stranger(answer: bytes) -> tuple[socket.socket, int]:
    """Somebody who listens and answers with the same to all."""
    listening = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

    threading.Thread(target=speak, daemon=True).start()
    return listening, listening.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [(b"HTTP/1.1 400 Bad\r\n\r\n" * 9, "no broker answers"), (b"", "no broker answers"),
     (b"\x20\2\0\4", "refuses us .bad user name"), (b"\x30\0", "no broker answers"),
     (b"\x20\2\0\0\x90\4\0\1\x80\x80", "subscribe to nothing")],
)  # fmt: skip
def test_who_is_no_broker_or_wants_us_not(tmp_path: Path, answer: bytes, why: str) -> None:
    listening, port = stranger(answer)
    try:
        with (
            SqliteStore(tmp_path / "fleet.db", write=True) as store,
            pytest.raises(OutputError, match=why),
        ):
            Receiver(f"mqtt://127.0.0.1:{port}", store)
    finally:
        listening.close()


def test_who_drips_and_never_lets_us_in_is_left() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    told: list[str] = []
    enough = threading.Event()

    def tell(up: bool, why: str) -> None:
        told.append(why)
        enough.set()

    def drip() -> None:
        with listening.accept()[0] as connection:
            connection.sendall(b"\x20\x7f")
            with contextlib.suppress(OSError):
                while not enough.wait(0.05):
                    connection.sendall(b"\0")

    dripping = threading.Thread(target=drip)
    dripping.start()
    broker = broker_of(f"mqtt://127.0.0.1:{listening.getsockname()[1]}")
    calls: dict[str, Any] = {"take": lambda messages: None, "tell": tell, "full": lambda: False}
    try:
        with Line(broker, "waits", (), patience=0.2, **calls):
            assert enough.wait(60)
    finally:
        enough.set()
        listening.close()
        dripping.join(10)
    assert told[0] == "no broker answers (it does not let us in)"


class Slow(SqliteStore):
    """A store that waits until it may go on."""

    go = threading.Event()

    def write(self, arrivals: Any) -> Stored:
        self.go.wait(30)
        return super().write(arrivals)


def test_who_has_enough_reads_no_more(broker: Broker, tmp_path: Path) -> None:
    """The messages stay with the broker, and with whoever sent them."""
    pace = ReceivePace(gather=0.01, rows=1, waiting=3)
    with Slow(tmp_path / "fleet.db", write=True) as store:
        store.go.clear()
        with Receiver(f"mqtt://127.0.0.1:{broker.port}", store, pace=pace) as receiver:
            for n in range(40):
                record(tmp_path / f"{n}.db", 1)
            devices = [link(broker, tmp_path / f"{n}.db", f"many-{n}") for n in range(40)]
            wait_for(lambda: receiver.waiting >= 3, "a full queue")
            time.sleep(0.5)
            # what came in one piece is taken whole; nothing was read after it
            taken = receiver.waiting
            time.sleep(0.5)
            assert receiver.waiting == taken < 79
            store.go.set()
            for device in devices:
                drained(device)
                device.close()
        assert len({row["device"] for row in store.events(limit=1000)}) == 40


def test_a_message_of_a_megabyte_costs_a_megabyte_once(broker: Broker) -> None:
    messages: list[Message] = []
    up = threading.Event()
    line = Line(
        broker_of(f"mqtt://127.0.0.1:{broker.port}"), "reads", ("big/+",),
        take=messages.extend, tell=lambda there, why: up.set(), full=lambda: False,
    )  # fmt: skip
    assert up.wait(10)
    seen = Subscriber(broker.port)
    seen.client.publish("big/1", bytes(1_000_000), qos=1)
    seen.client.publish("big/2", b"small", qos=1)
    wait_for(lambda: len(messages) == 2, "both")
    line.publish([("ours/1", b"x"), ("ours/2", b"y")])
    wait_for(lambda: seen.texts("ours/2") == ["y"], "ours")
    line.close()
    seen.close()
    assert [(topic, len(payload) < MOST_PACKET) for topic, payload, _, _ in messages] == [
        ("big/1", True), ("big/2", True),
    ]  # fmt: skip
    assert messages[1][1] == b"small"


def test_a_packet_is_as_the_standard_writes_it() -> None:
    assert packet(0x30, bytes(127))[:2] == b"\x30\x7f"
    assert packet(0x30, bytes(321))[:3] == b"\x30\xc1\x02"  # the standard's own example
    assert text("é") == struct.pack(">H", 2) + "é".encode()
    assert PUBLISH == 3


def test_a_refusal_later_is_a_warning_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As where somebody changes the broker's passwords: both sides wait, and nothing is lost."""
    broker = Broker(tmp_path).start()
    open_to_all = broker.config.read_text()
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        receiver = Receiver(f"mqtt://127.0.0.1:{broker.port}", store)
        device = link(broker, tmp_path / "events.db", "later")
        try:
            broker.kill()
            broker.config.write_text(open_to_all.replace("anonymous true", "anonymous false"))
            broker.start()
            record(tmp_path / "events.db", 2)
            wait_for(lambda: caplog.text.count("refuses us") >= 2, "both warnings")
            assert device.waiting == 2
            broker.kill()
            broker.config.write_text(open_to_all)
            broker.start()
            drained(device, 60)
        finally:
            device.close()
            receiver.close()
            broker.kill()
        assert len(store.events()) == 2


def test_no_broker_is_an_error_at_the_start(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        with pytest.raises(OutputError, match="no broker answers"):
            Receiver(f"mqtt://127.0.0.1:{free_port()}", store)
