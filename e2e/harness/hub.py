"""Fixtures for `hearthgate hub`: brokers, hubs and listeners that end with their test."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.broker import PATIENCE, Broker, Listener
from harness.files import KEY_TEXT
from harness.program import Running, eventually
from reference.profiles import Profile

UUID = "hg-under-test"
ROOT = f"hearthgate/{UUID}"
ENTRY = """[[gateway]]
uuid = "{uuid}"
name = "{name}"
key = "{key}"
address = "127.0.0.1:{port}"
grace = "1s"
"""


def topic(devid: str, what: str, uuid: str = UUID) -> str:
    return f"hearthgate/{uuid}/{devid}/{what}"


def configs(found: Any, prefix: str = "homeassistant") -> dict[str, dict[str, Any]]:
    """The discovery messages by the identifier of their device."""
    messages = [json.loads(payload) for name, payload in list(found.items()) if name.startswith(f"{prefix}/device/")]
    return {message["device"]["identifiers"][0]: message for message in messages}


def identifier(devid: str, uuid: str = UUID) -> str:
    return f"hearthgate_{uuid}_{devid}"


async def all_there(listener: Listener, devices: list[Profile], since: int = 0, patience: float = PATIENCE) -> float:
    """Waits until hub, gateway and devices are announced and as they are; tells when that was."""
    reachable = [f"{ROOT}/availability", "hearthgate/bridge/state", *(topic(d["devid"], "availability") for d in devices if d["online"])]

    def there() -> bool:
        now, heard = dict(listener.now), {message.topic for message in list(listener.messages)[since:]}
        return (
            all(now.get(name) == b"online" and name in heard for name in reachable)
            and all(topic(d["devid"], "state") in now and topic(d["devid"], "state") in heard for d in devices)
            and all(now.get(topic(d["devid"], "availability")) == b"offline" for d in devices if not d["online"])
            and {identifier(d["devid"]) for d in devices} <= set(configs(now))
            and any(name.startswith("homeassistant/device/") for name in heard)
        )

    await eventually(there, "hub, gateway and all devices are there", patience)
    return max(m.at for m in list(listener.messages)[since:] if m.topic.startswith(("hearthgate/", "homeassistant/")))


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    started: list[Broker] = []

    def start(*lines: str, **more: Any) -> Broker:
        started.append(Broker(tmp_path / f"broker-{len(started)}", *lines, **more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def broker(start_broker: Callable[..., Broker]) -> Broker:
    return start_broker()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    started: list[Listener] = []

    def start(*arguments: Any, **more: Any) -> Listener:
        started.append(Listener(*arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def listener(listen: Callable[..., Listener], broker: Broker) -> Listener:
    return listen(broker)


@pytest.fixture
def know(environment: dict[str, str]) -> Callable[..., None]:
    """Makes gateways known: `know(gateway)`, or several as (uuid, name, port)."""
    path = Path(environment["HOME"]) / ".config" / "hearthgate" / "gateways.toml"

    def write(*gateways: Any, key: str = KEY_TEXT) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts = [one if isinstance(one, tuple) else (UUID, "Home", one.port) for one in gateways]
        draft = path.with_name("draft")
        draft.write_text("\n".join(ENTRY.format(uuid=uuid, name=name, port=port, key=key) for uuid, name, port in parts))
        draft.chmod(0o600)
        draft.replace(path)

    return write


@pytest.fixture
def start_hub(spawn: Callable[..., Running]) -> Callable[..., Running]:
    """Starts a hub; the state folder is the same for all hubs of a test unless told otherwise."""

    def start(broker: Broker | str | None, *arguments: str | Path, **more: str) -> Running:
        url = broker.url if isinstance(broker, Broker) else broker
        outlet = ["--mqtt", url] if url else []
        return spawn("hub", "--no-discovery", "--no-web", *outlet, *arguments, **more)

    return start
