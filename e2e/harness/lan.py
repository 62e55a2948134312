"""Wi-Fi devices for the program to serve: the mocks of `tuyamock`, which is built on tinytuya's own protocol code.

The mock is the witness: what a device has is read from its `dps` in this process and never asked for over the network, since a
device serves one connection at a time. It knows no sub-devices; `Hub` extends it by them.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tuyamock
from tinytuya.core import command_types as command
from tuyamock.device import Session, TuyaMockDevice

from reference import profiles

VERSIONS = ("3.1", "3.3", "3.4", "3.5")
KEY = "k'9\"\\x{q}<m2P:z="  # of real keys, every character may be anything
OTHER_KEY = "another key, all"
NEGOTIATION = (command.SESS_KEY_NEG_START, command.SESS_KEY_NEG_FINISH)
PLUG = {"1": False, "9": 0, "18": 123, "19": 456, "20": 2301}
TRIED: dict[str, tuple[str, ...]] = {}  # what the tests try with which version
_addresses = itertools.count(os.getpid() % 5000 * 40 + 2)


def address() -> str:
    """A loopback address that no other test uses: any in 127.0.0.0/8 is this machine."""
    number = next(_addresses) % (2**24 - 1024) + 512
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{max(1, number & 255)}"


class Witnessed(Session):
    """A session of a mock that a test can interfere with, by the device's `on_write`."""

    def handle(self, message: Any) -> bytes | None:
        device = self.config.witness
        if message.cmd in NEGOTIATION and not self.profile.needs_session:
            return None  # as a device does that knows no sessions; the mock's thread would end
        if message.cmd in (command.CONTROL, command.CONTROL_NEW) and (written := self._parse_dps(message)):
            device.writes.append(written)
            if device.on_write is not None and not device.on_write():
                return None
        return self.answer(message)

    def answer(self, message: Any) -> bytes | None:
        return super().handle(message)


class HubSession(Witnessed):
    """Serves sub-devices: a request with a `cid` is for one, and so is the answer."""

    def answer(self, message: Any) -> bytes | None:
        try:
            payload = json.loads(message.payload)
        except ValueError:
            payload = {}
        hub = self.config.witness
        if message.cmd == command.LAN_EXT_STREAM:
            online = [cid for cid in hub.subs if cid not in hub.asleep]
            said = {"reqType": "subdev_online_stat_report", "data": {"online": online, "offline": list(hub.asleep)}}
            return self._pack(message.cmd, said)
        cid = (payload.get("data") or {}).get("cid") or payload.get("cid")
        if cid is None:
            return super().answer(message)
        if cid in hub.asleep:
            return None
        dps = hub.subs[cid]
        written = self._parse_dps(message) if message.cmd in (command.CONTROL, command.CONTROL_NEW) else None
        if written is not None:
            dps.update(written)
        return self._pack(message.cmd, self.report(cid, dps if written is None else written))

    def report(self, cid: str, dps: dict[str, Any]) -> dict[str, Any]:
        if self.config.version < "3.4":
            return {"devId": cid, "cid": cid, "dps": dps}
        return {"protocol": 4, "t": int(time.time()), "data": {"cid": cid, "ctype": 0, "dps": dps}}

    def _pack(self, cmd: int, said: dict[str, Any], **more: Any) -> bytes:
        body = self.profile.encrypt_payload(self, json.dumps(said).encode())
        return self.profile.pack_response(self, cmd, body, **more)

    def push_of(self, cid: str, dps: dict[str, Any]) -> bytes:
        return self._pack(command.STATUS, self.report(cid, dps), seqno=self.next_global_seqno())


class WifiDevice:
    """A mock with an address of its own."""

    session: type[Witnessed] = Witnessed

    def __init__(self, version: str, dps: dict[str, Any] | None = None, *, devid: str | None = None, key: str = KEY,
                 host: str | None = None, **more: Any):  # fmt: skip
        self.version = version
        self.host = host or address()
        self.id = devid or f"bf{''.join(f'{int(part):03d}' for part in self.host.split('.')[1:])}{version.replace('.', '')}lan"
        self.key = key
        self.writes: list[dict[str, Any]] = []
        self.on_write: Callable[[], bool] | None = None
        self.more = more
        self.state = dict(PLUG if dps is None else dps)
        self.mock: tuyamock.MockDevice | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Starts, or starts again on the same port with the state it had."""
        self.mock = tuyamock.MockDevice(
            local_key=self.key, version=self.version, dps=self.state, gw_id=self.id, host=self.host, port=self.port, **self.more
        )
        self.mock.config.dps = self.state
        self.mock.config.witness = self
        device = TuyaMockDevice(self.mock.config)
        device.new_session = lambda: self.session(self.mock.config)
        self.mock.server.device = device
        self.port = self.mock.start()

    def stop(self) -> None:
        self.mock.stop()

    @property
    def dps(self) -> dict[str, Any]:
        """What the device has: the witness."""
        return self.mock.dps

    def push(self, **dps: Any) -> None:
        """The device changes by itself, and says so."""
        changed = {name.removeprefix("dp"): value for name, value in dps.items()}
        self.dps.update(changed)
        assert self.mock.push(changed), "nobody is connected to the mock"

    def cut(self) -> None:
        """Ends the connection as a device does that loses its power."""
        client = self.mock.server._client
        if client is not None:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def toml(self, **more: Any) -> str:
        fields = {"id": self.id, "key": self.key, "version": self.version, "address": f"{self.host}:{self.port}", "category": "cz",
                  "grace": "0s"} | more  # fmt: skip
        return table(fields)


class Hub(WifiDevice):
    """A mock with sub-devices, by their cid."""

    session = HubSession

    def __init__(self, version: str, subs: dict[str, dict[str, Any]], **more: Any):
        self.subs = {cid: dict(dps) for cid, dps in subs.items()}
        self.asleep: set[str] = set()
        super().__init__(version, {}, **more)

    def push_sub(self, cid: str, dps: dict[str, Any]) -> None:
        self.subs[cid].update(dps)
        server = self.mock.server
        with server._io_lock:
            server._client.sendall(server._session.push_of(cid, dps))

    def sub_id(self, cid: str) -> str:
        return f"{self.id}-{cid}"

    def toml(self, **more: Any) -> str:
        subs = [
            table({"id": self.sub_id(cid), "parent": self.id, "cid": cid, "category": "cz", "grace": "0s"}) for cid in self.subs
        ]
        return super().toml(category="wg2", **more) + "".join(subs)


def table(fields: dict[str, Any]) -> str:
    """A [[device]] of TOML; the strings of JSON are strings of TOML too."""
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in fields.items() if value is not None)
    return "[[device]]\n" + "".join(lines) + "\n"


def write_list(path: Path, *parts: str) -> Path:
    path.write_text("".join(parts))
    path.chmod(0o600)
    return path


def quiet() -> None:
    """The mock logs each frame that it cannot decrypt, which wrong keys make on purpose."""
    logging.getLogger("tuyamock").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def many(count: int, version_of: Callable[[int], str]) -> Iterator[list[WifiDevice]]:
    """So many devices at once, in this one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft != resource.RLIM_INFINITY else soft, hard))
    devices = [WifiDevice(version_of(index)) for index in range(count)]
    try:
        yield devices
    finally:
        for device in devices:
            device.stop()


def tried(what: str, versions: tuple[str, ...] = VERSIONS, parametrized: bool = True) -> Callable[[Any], Any]:
    """Marks a test of this: once for each version, or once for all of them."""
    TRIED[what] = versions
    return pytest.mark.parametrize("version", versions) if parametrized else lambda test: test


async def online(session: Any, devid: str, patience: float = 30) -> dict[str, Any]:
    """Waits until a device is in reach, and gives what it had at that moment."""
    end = time.monotonic() + patience
    while True:
        status = await session.status(devid)
        if status["online"]:
            return profiles.values_of(status)
        assert time.monotonic() < end, f"{devid} is not online within {patience} s: {status}"
        await asyncio.sleep(0.05)


async def has(session: Any, devid: str, code: str, value: Any, patience: float = 15) -> None:
    end = time.monotonic() + patience
    while (now := profiles.values_of(await session.status(devid)).get(code)) != value:
        assert time.monotonic() < end, f"{code} is {now!r} and not {value!r} within {patience} s"
        await asyncio.sleep(0.05)
