"""`edgepose collect`: what is asked for becomes a receiver, a store and a page. They stand in `edgepose/collect/`."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgepose.cli.collect_options import (
    Collect,
    CollectCheck,
    CollectConfig,
    CollectDevices,
    CollectWeb,
)
from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk, say_line
from edgepose.cli.serve import page_token, say_address
from edgepose.cli.table import print_table
from edgepose.collect.receive import Receiver
from edgepose.collect.report import device_rows, problems
from edgepose.collect.store import FleetStore
from edgepose.collect.stores import is_shared, open_store, place
from edgepose.errors import EXIT_DONE, EXIT_FAILED, OutputError, UsageError
from edgepose.fleet.messages import CONFIG, MOST_BATCH, check_device, dump_config, topic_of
from edgepose.io.mqtt import KEEPALIVE_SECONDS, broker_of, leave_word, make_client
from edgepose.json_file import read_named
from edgepose.web import server as web_server
from edgepose.web.access import is_loopback

LEAST_KEY = 16
DEVICE_COLUMNS = (
    "device",
    "state",
    "last seen",
    "frames/s",
    "cameras",
    "waiting",
    "clock",
    "version",
    "settings",
)
ANSWER = 10.0  # seconds that a broker has to take settings


def collect(asked: Collect) -> int:
    """Run the command."""
    talk, web = Talk.of(asked.talk), asked.web
    where = _listen(web)
    if asked.group and not is_shared(place(asked.store)):
        raise UsageError(
            "--group shares a PostgreSQL: --store postgresql://... A file has one collector."
        )
    if not re.fullmatch(r"[\w.-]{0,64}", asked.group):
        raise UsageError("--group is a word of letters, digits, '-', '_' and '.'.")
    token = page_token(where[0]) if where else ""
    _poses_key(asked)
    with ExitStack() as stack:
        terminate_as_interrupt()
        try:
            store = stack.enter_context(open_store(asked.store, write=True))
            receiver = stack.enter_context(
                Receiver(_broker(asked.broker), store, group=asked.group, keep_days=asked.keep_days)
            )
            talk.info(f"Collecting into {store.shown}.")
            if where is None:
                threading.Event().wait()
                return EXIT_DONE
            listening = web_server.bind(*where)
            stack.callback(listening.close)
            reader = stack.enter_context(open_store(asked.store, write=False))
            server = _page_server(receiver, reader, token, asked)
            scheme = "https" if web.cert else "http"
            say_address(
                web_server.server_address(listening, where[0], scheme),
                token,
                talk,
                tls=bool(web.cert),
            )
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            talk.info("Ending.")
    return EXIT_DONE


def _page_server(receiver: Receiver, reader: FleetStore, token: str, asked: Collect) -> Any:
    web = asked.web
    app = web_server.load_app("edgepose.collect.app:fleet_app", receiver, reader, token)
    if asked.poses is not None:
        key = _poses_key(asked)
        app = web_server.load_app("edgepose.collect.inbox:Inbox", app, asked.poses, key)
    tls = (str(web.cert), str(web.key)) if web.cert else None
    return web_server.make_server(app, lambda: None, tls)


def _poses_key(asked: Collect) -> str:
    """The key of the devices' passwords, "" where no poses are taken.

    Raises:
        UsageError: there is none, or nothing listens.
    """
    key = os.environ.get("EDGEPOSE_POSES_KEY", "")
    if asked.poses is not None and len(key) < LEAST_KEY:
        raise UsageError(
            f"--poses needs EDGEPOSE_POSES_KEY, {LEAST_KEY} characters or more, for the devices' passwords: "
            'export EDGEPOSE_POSES_KEY="$(openssl rand -hex 16)"'
        )
    if asked.poses is not None and asked.web.listen == "none":
        raise UsageError("--poses takes files where --listen says; none listens nowhere.")
    return key


def _listen(web: CollectWeb) -> tuple[str, int] | None:
    """Host and port of the page, None = none.

    Raises:
        UsageError: they cannot be meant, or everybody could read what is sent.
    """
    if web.listen == "none":
        return None
    host, colon, port = web.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {web.listen} is no HOST:PORT. Example: 127.0.0.1:8443")
    if bool(web.cert) != bool(web.key):
        raise UsageError("--cert and --key go together.")
    host = host.strip("[]")
    if not is_loopback(host) and not web.cert:
        raise UsageError("Beyond this machine the page needs TLS: --cert FILE and --key FILE.")
    return host, int(port)


def _broker(given: str) -> str:
    found = given or os.environ.get("EDGEPOSE_FLEET", "")
    if not found:
        raise UsageError(
            "Name the broker: edgepose collect mqtts://user:password@host/, or EDGEPOSE_FLEET."
        )
    return found


def devices(asked: CollectDevices) -> None:
    """Show the devices."""
    with open_store(asked.store, write=False) as store:
        rows = device_rows(store.devices(), time.time())
    if asked.json:
        print(json.dumps({"devices": rows}, ensure_ascii=False))
        return
    if not rows:
        say_line("No device has said anything yet.")
        return
    print_table(DEVICE_COLUMNS, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[str]:
    state = row["state"] + (", twice" if row["duplicate"] else "")
    clock = "" if row["clock_offset"] is None else f"{row['clock_offset']:+.1f} s"
    waiting = "" if row["waiting"] is None else str(row["waiting"])
    waiting += f", {row['dropped']} lost" if row["dropped"] else ""
    settings = str(row["config"] or "")
    if row["config_error"]:
        settings = f"{row['config_wanted']} failed: {row['config_error']}"
    fps = "" if row["fps"] is None else f"{row['fps']:g}"
    up, cameras = row["cameras_up"], row["cameras"]
    return [
        row["name"],
        state,
        f"{row['seconds_ago']:.0f} s ago",
        fps,
        f"{up} of {cameras}" if up < cameras else str(cameras or ""),
        waiting,
        clock,
        row["version"],
        settings,
    ]


def check(asked: CollectCheck) -> int:
    """Say what is missing."""
    with open_store(asked.store, write=False) as store:
        found = problems(store)
        count = sum(stored for stored, _ in store.counts().values())
        known = len(store.devices())
    for problem in found:
        print(problem)
    print(f"{count} events of {known} devices, {len(found)} problems")
    return EXIT_FAILED if found else EXIT_DONE


def config(asked: CollectConfig) -> None:
    """Push settings to a device.

    Raises:
        UsageError: the file or the device cannot be meant. OutputError: the broker does not take it.
    """
    if asked.action != "push":
        raise UsageError(f"collect config knows push, not {asked.action[:40]!r}.")
    device, settings = check_device(asked.device), _settings(asked.file)
    # by the clock, so that every centre's next version is greater
    message = dump_config(int(time.time() * 1000), settings)
    if len(message) > MOST_BATCH:
        raise UsageError(f"{asked.file} is too long: settings have at most {MOST_BATCH} bytes.")
    _publish(_broker(asked.broker), topic_of(device, CONFIG), message)
    say_line(f"Pushed to {device}; `edgepose collect devices` says whether they work.")


def _settings(file: Path) -> dict[str, Any]:
    found = read_named(file, "Settings file", UsageError, MOST_BATCH)
    if not isinstance(found, dict):
        raise UsageError(f"{file} holds no settings: it is no JSON object.")
    return found


def _publish(target: str, topic: str, message: bytes) -> None:
    broker = broker_of(target, ("device",))
    client = make_client(broker)
    try:
        answer = threading.Event()
        reasons: list[Any] = []

        def answered(c: Any, u: Any, flags: Any, reason: Any, p: Any) -> None:
            reasons.append(reason)
            answer.set()

        client.on_connect = answered
        client.connect(broker.host, broker.port, keepalive=KEEPALIVE_SECONDS)
        client.loop_start()
        if not answer.wait(ANSWER) or reasons[0].is_failure:
            raise OutputError(
                f"{broker.shown}: the broker refuses us ({(reasons or ['no answer'])[0]})."
            )
        if not leave_word(client, topic, message, ANSWER):
            raise OutputError(f"{broker.shown}: the broker does not take the settings.")
    except OSError as e:
        raise OutputError(f"{broker.shown}: no broker answers ({e}).") from None
    finally:
        client.disconnect()
        client.loop_stop()
