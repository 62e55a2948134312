"""Mosquitto on a free port of loopback, and a client of it that remembers everything it heard."""

import asyncio
import json
import os
import shutil
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from harness import system
from harness.program import Running, eventually

PATIENCE = 30.0
VERSIONS = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}


class Broker:
    """A Mosquitto that can be killed and started again, on the same port; with `persistent` it keeps what it knew, however it
    ends. `lines` are further ones of its configuration."""

    def __init__(
        self, folder: Path, *lines: str, persistent: bool = False, anonymous: bool = True, secure: bool = False, started: bool = True
    ):  # fmt: skip
        # Debian puts it where not all users look.
        self.program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if self.program is None:
            system.need("mosquitto", "mosquitto", root=False)
        folder.mkdir(exist_ok=True)
        self.folder, self.lines, self.persistent = folder, lines, persistent
        self.anonymous, self.secure = anonymous, secure
        self.port = system.free_port()
        self.process: Running | None = None
        if started:
            self.start()

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.secure else 'mqtt'}://127.0.0.1:{self.port}"

    def with_login(self, login: str) -> str:
        return self.url.replace("://", f"://{login}@")

    def start(self) -> None:
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {str(self.anonymous).lower()}", *self.lines]
        lines += [f"log_type {one}" for one in ("error", "warning", "notice")]  # not each save of what it keeps
        lines.append("user root")  # started by root it would give up the right to write into the folder
        if self.persistent:
            # Each change is on the disk at once, so that a kill loses nothing.
            lines += ["persistence true", f"persistence_location {self.folder}/", "autosave_on_changes true", "autosave_interval 1"]
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        self.process = Running([self.program, "-c", str(config)], {"PATH": "/usr/sbin:/usr/bin:/bin"})
        end = time.monotonic() + PATIENCE
        while True:
            assert self.process.process.poll() is None, self.process.story()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, self.process.story()
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        if self.process:
            self.process.stop()


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    retained: bool
    correlation: bytes | None = None
    at: float = field(default_factory=time.monotonic, compare=False)

    def json(self) -> Any:
        return json.loads(self.payload)


class Listener:
    """A client that hears everything, or what these filters let through, and connects again by itself."""

    def __init__(
        self, broker: Broker, *filters: str, version: str = "5", login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ):  # fmt: skip
        self.filters = filters or ("#",)
        self.messages: list[Message] = []
        self.now: dict[str, bytes] = {}  # the last payload of each topic; an empty one takes it away
        self.version = version
        self._ready = threading.Event()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"listener-{uuid.uuid4().hex[:12]}", protocol=VERSIONS[version],
            reconnect_on_failure=True,
        )  # fmt: skip
        self.client.reconnect_delay_set(1, 1)
        self.client.max_queued_messages_set(0)
        if login:
            self.client.username_pw_set(*login)
        if tls:
            self.client.tls_set_context(tls)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._heard
        self.client.connect("127.0.0.1", broker.port, keepalive=30)
        self.client.loop_start()
        assert self._ready.wait(PATIENCE), "the listener is not subscribed"

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        if self.version == "5":
            # What is retained stays recognisable as that when it is published as well.
            client.subscribe([(one, SubscribeOptions(qos=0, retainAsPublished=True)) for one in self.filters])
        else:
            client.subscribe([(one, 0) for one in self.filters])

    def _heard(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        heard = Message(message.topic, message.payload, message.retain, correlation)
        if heard.payload:
            self.now[heard.topic] = heard.payload
        else:
            self.now.pop(heard.topic, None)
        self.messages.append(heard)

    def publish(self, topic: str, payload: Any, *, retain: bool = False, correlation: bytes | None = None) -> None:
        if not isinstance(payload, (bytes, str)):
            payload = json.dumps(payload)
        properties = None
        if correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = correlation
        self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def json(self, topic: str) -> Any:
        payload = self.now.get(topic)
        return None if payload is None else json.loads(payload)

    def text(self, topic: str) -> str | None:
        payload = self.now.get(topic)
        return None if payload is None else payload.decode()

    def of(self, topic: str, since: int = 0) -> list[Message]:
        return [message for message in self.messages[since:] if message.topic == topic]

    async def next(self, topic: str, since: int, patience: float = PATIENCE) -> Message:
        """The first message of that topic after the first so many of all."""
        found = await eventually(lambda: self.of(topic, since), f"a message of {topic}", patience)
        return found[0]

    async def fence(self) -> None:
        """Until everything that the broker had before has been heard here."""
        topic = f"fence/{uuid.uuid4().hex}"
        self.publish(topic, "x")
        await eventually(lambda: topic in self.now, f"the message of {topic}", PATIENCE)

    async def request(self, what: str, root: str = "hearthgate", patience: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """Asks the hub something and gives the answer with the same id."""
        since, id = len(self.messages), uuid.uuid4().hex
        self.publish(f"{root}/bridge/request/{what}", {"id": id, **fields})
        mine = lambda: [m for m in self.of(f"{root}/bridge/response/{what}", since) if m.json().get("id") == id]  # noqa: E731
        return (await eventually(mine, f"an answer to {what} {fields}", patience))[0].json()

    async def set(self, device: str, payload: Any, patience: float = PATIENCE) -> dict[str, Any]:
        """Publishes to `<device>/set[/<code>]` and gives the next result of that device."""
        since = len(self.messages)
        base = device.split("/set/")[0]
        self.publish(device if "/set/" in device else f"{device}/set", payload)
        return (await self.next(f"{base}/result", since, patience)).json()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def retained(broker: Broker, filters: Iterable[str] = ("#",), **more: Any) -> dict[str, bytes]:
    """Everything that the broker keeps."""
    one = Listener(broker, *filters, "fence/#", **more)
    try:
        await one.fence()
        return {m.topic: m.payload for m in one.messages if m.retained}
    finally:
        await asyncio.to_thread(one.close)
