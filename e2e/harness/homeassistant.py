"""Home Assistant itself, configured by files: no clicks, no cloud, loopback only.

It runs from its own virtual environment (`make homeassistant`), because it pins hundreds of packages and takes few
Python versions. Everything is asked over its REST and WebSocket API, as any of its users could.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio import client as websocket

from .program import ROOT, Running, clean_environment
from .system import free_port

BOOT = 120.0
PATIENCE = 30.0
State = dict[str, Any]

USER, TOKEN_ID, TOKEN_KEY = "a0" * 16, "b1" * 16, "c2" * 64
# What it says itself while its broker is away, in tests that take it away.
BROKER_IS_AWAY = re.compile(
    r"(Failed to connect|Disconnected from|Error returned from|Error connecting) (to )?MQTT|MQTT server|Error talking to MQTT|"
    r"client is not currently connected|No ACK from MQTT"
)
# What it says of itself on a busy machine.
IS_SLOW = re.compile(r"is taking over \d+ seconds|Waiting (on|for) integrations")
THEN = "2025-01-01T00:00:00+00:00"


def python() -> Path:
    path = Path(os.environ.get("HOMEASSISTANT_PYTHON", "target/venv-homeassistant/bin/python"))
    path = path if path.is_absolute() else ROOT / path
    assert path.is_file(), f"{path} is not there: `make homeassistant` installs Home Assistant, or name its Python in HOMEASSISTANT_PYTHON"
    return path


def stored(key: str, data: Any, version: int = 1, minor: int = 1) -> str:
    return json.dumps({"version": version, "minor_version": minor, "key": key, "data": data})


def access_token() -> str:
    """A token that Home Assistant would have made for the refresh token of the files: a JWT."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"iss": TOKEN_ID, "iat": 1735689600, "exp": 4102444800}
    text = ".".join(part(json.dumps(p).encode()) for p in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{part(hmac.new(TOKEN_KEY.encode(), text.encode(), hashlib.sha256).digest())}"


class HomeAssistant:
    def __init__(self, folder: Path, broker_port: int):
        self.folder = folder
        self.port = free_port()
        self.process: Running | None = None
        self.token = access_token()
        self.log: list[str] = []  # of the runs before this one
        self._configure(broker_port)

    def _configure(self, broker_port: int) -> None:
        storage = self.folder / "config" / ".storage"
        storage.mkdir(parents=True)
        (self.folder / "home").mkdir()
        (self.folder / "config" / "configuration.yaml").write_text(
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\napi:\nwebsocket_api:\nconfig:\n"
            "homeassistant:\n  unit_system: metric\n  country: DE\n"
            "logger:\n  default: warning\n"
        )
        entry = {
            "created_at": THEN, "modified_at": THEN, "data": {"broker": "127.0.0.1", "port": broker_port}, "disabled_by": None,
            "discovery_keys": {}, "domain": "mqtt", "entry_id": "01JMQTT0000000000000000000", "version": 1, "minor_version": 2,
            "options": {}, "pref_disable_new_entities": False, "pref_disable_polling": False, "source": "user",
            "subentries": [], "title": "Broker", "unique_id": None,
        }  # fmt: skip
        user = {
            "id": USER, "group_ids": ["system-admin"], "is_owner": True, "is_active": True, "name": "Tests",
            "system_generated": False, "local_only": False,
        }  # fmt: skip
        token = {
            "id": TOKEN_ID, "user_id": USER, "client_id": None, "client_name": "Tests", "client_icon": None,
            "token_type": "long_lived_access_token", "created_at": THEN, "access_token_expiration": 3e9, "token": "d3" * 64,
            "jwt_key": TOKEN_KEY, "last_used_at": None, "last_used_ip": None, "expire_at": None, "credential_id": None,
            "version": "2025.4.4",
        }  # fmt: skip
        groups = [{"id": f"system-{name}", "name": name} for name in ("admin", "users", "read-only")]
        (storage / "core.config_entries").write_text(stored("core.config_entries", {"entries": [entry]}, 1, 5))
        (storage / "auth").write_text(stored("auth", {"users": [user], "groups": groups, "credentials": [], "refresh_tokens": [token]}))
        done = ["user", "core_config", "analytics", "integration"]
        (storage / "onboarding").write_text(stored("onboarding", {"done": done}, 4))

    # The process

    def launch(self) -> None:
        if self.process:
            self.log += self.process.log
        argv = [str(python()), "-m", "homeassistant", "-c", str(self.folder / "config"), "--skip-pip", "--log-no-color"]
        self.process = Running(argv, clean_environment(self.folder / "home", PYTHONUNBUFFERED="1"))

    async def start(self) -> None:
        """Starts it and waits until it has started all it has."""
        self.launch()
        end = time.monotonic() + BOOT
        while True:
            with contextlib.suppress(OSError):
                if (await self.get("config"))["state"] == "RUNNING":
                    return
            assert self.process.process.poll() is None and time.monotonic() < end, self.process.story()
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def complaints(self, about: str = r"hearthgate|mqtt|discovery") -> list[str]:
        """Warnings and errors of all runs that name us or how we speak to it, with what stands below them."""
        entries: list[str] = []
        for line in [*self.log, *self.process.log]:
            if re.match(r"\d{4}-\d\d-\d\d ", line) or not entries:
                entries.append(line)
            else:
                entries[-1] += "\n" + line
        found = [e for e in entries if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", e) and re.search(about, e, re.IGNORECASE)]
        return [entry for entry in found if not BROKER_IS_AWAY.search(entry) and not IS_SLOW.search(entry)]

    # REST

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )  # fmt: skip
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)

    async def get(self, path: str) -> Any:
        return await asyncio.to_thread(self._request, "GET", path)

    async def states(self) -> dict[str, State]:
        return {state["entity_id"]: state for state in await self.get("states")}

    async def state(self, entity_id: str) -> State:
        try:
            return await self.get(f"states/{entity_id}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {"entity_id": entity_id, "state": None, "attributes": {}}

    async def call(self, service: str, entity_id: str, **data: Any) -> None:
        """Calls a service, such as `light.turn_on`, as its pages and automations do."""
        path = f"services/{service.replace('.', '/')}"
        try:
            await asyncio.to_thread(self._request, "POST", path, {"entity_id": entity_id} | data)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{service} of {entity_id} with {data}: {error} {error.read()[:500]!r}") from None

    async def becomes(self, entity_id: str, wanted: Callable[[State], Any], what: str, patience: float = PATIENCE) -> State:
        """Waits until the entity's state is wanted, and gives it."""
        end = time.monotonic() + patience
        while not wanted(state := await self.state(entity_id)):
            assert time.monotonic() < end, f"not within {patience} s: {what}; {entity_id} is {json.dumps(state)}"
            await asyncio.sleep(0.05)
        return state

    # WebSocket

    @contextlib.asynccontextmanager
    async def talk(self) -> AsyncIterator["Talk"]:
        async with websocket.connect(f"ws://127.0.0.1:{self.port}/api/websocket", proxy=None, max_size=None) as socket:
            talk = Talk(socket)
            assert (await talk.receive())["type"] == "auth_required"
            await socket.send(json.dumps({"type": "auth", "access_token": self.token}))
            assert (await talk.receive())["type"] == "auth_ok"
            yield talk

    async def registry(self, what: str = "entity") -> list[dict[str, Any]]:
        async with self.talk() as talk:
            return await talk.ask(f"config/{what}_registry/list")


class Talk:
    """A conversation over its WebSocket."""

    def __init__(self, socket: websocket.ClientConnection):
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self._last = 0

    async def receive(self, patience: float = PATIENCE) -> dict[str, Any]:
        async with asyncio.timeout(patience):
            return json.loads(await self.socket.recv())

    async def ask(self, type: str, **fields: Any) -> Any:
        self._last += 1
        await self.socket.send(json.dumps({"id": self._last, "type": type} | fields))
        while True:
            message = await self.receive()
            if message["type"] == "event":
                self.events.append(message["event"])
            elif message.get("id") == self._last:
                assert message["success"], message
                return message["result"]

    async def catch_up(self) -> list[dict[str, Any]]:
        """Everything that was subscribed to and has happened until now."""
        await self.ask("get_config")
        return self.events
