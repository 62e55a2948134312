"""Home Assistant itself, configured by files, and what it says over its own API."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from harness.broker import Broker, free_port, wait_until
from harness.program import ROOT

# The names of the two secrets of a folder that only the tests know.
TOKEN_ID, JWT_KEY, USER_ID = "7e57" * 8, "5ec2e7" * 10, "0a11" * 8
BEGIN = "2026-01-01T00:00:00+00:00"


def program() -> Path:
    path = Path(os.environ.get("HOMEASSISTANT_BIN", "target/venv-ha/bin/hass"))
    path = path if path.is_absolute() else ROOT / path
    assert path.is_file(), f"{path} is not there: `make target/venv-ha/ready` installs Home Assistant"
    return path


class HomeAssistant:
    """A Home Assistant that talks to a broker, to be killed and started again."""

    def __init__(self, folder: Path, broker: Broker, automations: str = "[]"):
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        storage = folder / ".storage"
        storage.mkdir(parents=True)
        (folder / "configuration.yaml").write_text(
            "homeassistant:\n  name: tests\n  latitude: 0\n  longitude: 0\n  elevation: 0\n  unit_system: metric\n"
            "  time_zone: UTC\n  country: DE\n"
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\n"
            "api:\nwebsocket_api:\nconfig:\nlogger:\n  default: warning\n"
            f"automation: {automations}\n"
        )
        store(storage, "auth", 1, 1, {
            "users": [{"id": USER_ID, "group_ids": ["system-admin"], "is_owner": True, "is_active": True, "name": "tests",
                       "system_generated": False, "local_only": True}],
            "groups": [{"id": "system-admin", "name": "Administrators"}, {"id": "system-read-only", "name": "Read Only"},
                       {"id": "system-users", "name": "Users"}],
            "credentials": [],
            "refresh_tokens": [{"id": TOKEN_ID, "user_id": USER_ID, "client_id": None, "client_name": "tests", "client_icon": None,
                                "token_type": "long_lived_access_token", "created_at": BEGIN, "access_token_expiration": 315360000.0,
                                "token": "0" * 128, "jwt_key": JWT_KEY, "last_used_at": None, "last_used_ip": None, "expire_at": None,
                                "credential_id": None, "version": None}],
        })  # fmt: skip
        store(storage, "core.config_entries", 1, 5, {"entries": [{
            "created_at": BEGIN, "modified_at": BEGIN, "entry_id": "mqtt0", "domain": "mqtt", "title": "broker", "version": 1,
            "minor_version": 2, "data": {"broker": "127.0.0.1", "port": broker.port, "protocol": "5"},
            "options": {"discovery": True, "discovery_prefix": "homeassistant"}, "disabled_by": None, "discovery_keys": {},
            "pref_disable_new_entities": False, "pref_disable_polling": False, "source": "user", "subentries": [], "unique_id": None,
        }]})  # fmt: skip
        self.token = token()
        self.start()

    def start(self) -> None:
        log = (self.folder / "stdout.log").open("ab")
        environment = {**os.environ, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        argv = [str(program()), "--config", str(self.folder), "--skip-pip"]
        self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        log.close()

    def wait_until_running(self, patience: float = 90) -> None:
        wait_until(self._runs, lambda: f"Home Assistant to run\n{self.log_text[-3000:]}", patience)

    def _runs(self) -> bool:
        assert self.process.poll() is None, f"Home Assistant has ended\n{self.log_text[-3000:]}"
        try:
            return self.get("config")["state"] == "RUNNING"
        except OSError:
            return False

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    stop = kill

    @property
    def log_text(self) -> str:
        return (self.folder / "stdout.log").read_text("utf-8", "replace")

    def complaints(self) -> list[str]:
        """Lines of its log that name us."""
        words = ("hearthgate", "mqtt", "Template")
        lines = self.log_text.splitlines()
        return [line for line in lines if ("WARNING" in line or "ERROR" in line) and any(word in line for word in words)]

    def _call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        return self._call(path)

    def states(self) -> dict[str, Any]:
        return {state["entity_id"]: state for state in self.get("states")}

    def state(self, entity: str) -> str | None:
        try:
            return self.get(f"states/{entity}")["state"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def call(self, service: str, entity: str, **data: Any) -> None:
        self._call(f"services/{service.replace('.', '/')}", data | {"entity_id": entity})

    def ask(self, *commands: dict[str, Any]) -> list[Any]:
        """Commands of the WebSocket API, one after another."""
        answers = []
        with connect(f"ws://127.0.0.1:{self.port}/api/websocket", max_size=None) as socket:
            socket.recv(10)
            socket.send(json.dumps({"type": "auth", "access_token": self.token}))
            assert json.loads(socket.recv(10))["type"] == "auth_ok"
            for number, command in enumerate(commands, 1):
                socket.send(json.dumps(command | {"id": number}))
                answer = json.loads(socket.recv(30))
                assert answer["success"], answer
                answers.append(answer["result"])
        return answers

    def registry(self) -> dict[str, dict[str, Any]]:
        """The registered entities by their unique ids."""
        (listed,) = self.ask({"type": "config/entity_registry/list"})
        (full,) = self.ask({"type": "config/entity_registry/get_entries", "entity_ids": [entry["entity_id"] for entry in listed]})
        return {entry["unique_id"]: entry for entry in full.values()}

    def entity(self, unique_id: str) -> str:
        return self.registry()[unique_id]["entity_id"]


def store(folder: Path, key: str, version: int, minor: int, data: Any) -> None:
    (folder / key).write_text(json.dumps({"version": version, "minor_version": minor, "key": key, "data": data}))


def token() -> str:
    """The access token of the preset user: a JSON Web Token."""
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    now = int(time.time())
    head = part(b'{"alg":"HS256","typ":"JWT"}')
    body = part(json.dumps({"iss": TOKEN_ID, "iat": now - 60, "exp": now + 86400}).encode())
    signature = hmac.new(JWT_KEY.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{part(signature)}"
