"""A Mosquitto of the test's own, and a client of it that sees everything."""

import getpass
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE = 20.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {patience} s: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


class Broker:
    """Mosquitto, to be killed and started again on the same port."""

    def __init__(self, folder: Path, *, persistent: bool = False, more: str = "", tls: str = ""):
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.folder = folder
        self.log = folder / "mosquitto.log"
        kept = f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            # Started by root it would become somebody who cannot read the test's files.
            f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\n{tls}{kept if persistent else ''}{more or 'allow_anonymous true'}\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", str(self.config)], stdout=log, stderr=log)
        wait_until(self._listens, lambda: f"Mosquitto to listen\n{self.log.read_text()}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    stop = kill

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def kept(self, topic: str = "#") -> dict[str, str]:
        """Everything that the broker keeps at this moment."""
        with Witness(self, topic) as witness:
            return {message.topic: message.payload for message in witness.messages if message.retained and message.payload}


@dataclass(frozen=True)
class Seen:
    topic: str
    payload: str
    retained: bool
    at: float

    def json(self) -> Any:
        return json.loads(self.payload)


class Witness:
    """A client that keeps every message; it comes back by itself."""

    def __init__(self, broker: Broker, topic: str = "#", **login: str):
        self.messages: list[Seen] = []
        self._topic = topic
        self._ready = threading.Event()
        self._end = f"tests/{id(self)}/{time.monotonic_ns()}"
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if login:
            self.client.username_pw_set(**login)
        self.client.on_connect = self._connected
        self.client.on_message = self._message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        # What is kept comes before what is published after it.
        assert self._ready.wait(PATIENCE), "the witness sees nothing"

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(self._topic, 0), (self._end, 0)])
        client.publish(self._end, "")

    def _message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == self._end:
            self._ready.set()
        elif not message.topic.startswith("tests/"):
            payload = message.payload.decode("utf-8", "replace")
            self.messages.append(Seen(message.topic, payload, bool(message.retain), time.monotonic()))

    def of(self, topic: str, since: int = 0) -> list[Seen]:
        return [seen for seen in self.messages[since:] if seen.topic == topic]

    def last(self, topic: str, since: int = 0) -> Seen | None:
        found = self.of(topic, since)
        return found[-1] if found else None

    def wait(self, topic: str, condition: Callable[[str], Any] = lambda _: True, since: int = 0, patience: float = PATIENCE) -> Seen:
        def found() -> Seen | None:
            return next((seen for seen in self.of(topic, since) if condition(seen.payload)), None)

        return wait_until(found, lambda: f"{topic}; the last ones: {self.of(topic)[-3:]}", patience)

    def publish(self, topic: str, payload: Any, retain: bool = False) -> int:
        """Publishes, and gives the place from which on answers can come."""
        here = len(self.messages)
        text = payload if isinstance(payload, str) else json.dumps(payload)
        self.client.publish(topic, text, qos=1, retain=retain).wait_for_publish(PATIENCE)
        return here

    def ask(self, topic: str, payload: Any, answer: str) -> Any:
        here = self.publish(topic, payload)
        return self.wait(answer, since=here).json()

    def request(self, what: str, root: str = "hearthgate", **fields: Any) -> Any:
        return self.ask(f"{root}/bridge/request/{what}", fields | {"id": what}, f"{root}/bridge/response/{what}")

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> "Witness":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
