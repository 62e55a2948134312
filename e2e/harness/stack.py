"""A whole home: gateways of both implementations, the hub, Mosquitto and Home Assistant, each of which can be killed."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from reference import client, crypto, gateway, profiles
from reference.profiles import Profile, point, profile

from . import program
from .broker import Broker
from .files import KEY_TEXT, write_key, write_profile, write_profiles
from .homeassistant import PATIENCE, HomeAssistant, State
from .program import Running, clean_environment, eventually
from .system import free_port


def both(*points: dict[str, str]) -> dict[str, Any]:
    return {"function": points, "status": points}


TEMPERATURE = {"unit": "℃", "min": 50, "max": 350, "scale": 1, "step": 5}
COLOUR = {"h": {"min": 0, "max": 360, "scale": 0, "step": 1}} | {k: {"min": 0, "max": 1000, "scale": 0, "step": 1} for k in "sv"}

LIGHT = profile(
    "0a11halight1", "dj", "Ceiling", **both(
        point("switch_led", "Boolean"), point("work_mode", "Enum", range=["white", "colour", "scene"]),
        point("bright_value_v2", "Integer", unit="", min=10, max=1000, scale=0, step=1),
        point("temp_value_v2", "Integer", unit="", min=0, max=1000, scale=0, step=1), point("colour_data_v2", "Json", **COLOUR),
    ),
    switch_led=False, work_mode="white", bright_value_v2=500, temp_value_v2=500, colour_data_v2={"h": 120, "s": 1000, "v": 700},
)  # fmt: skip
THERMOSTAT_SETTINGS = [point("switch", "Boolean"), point("temp_set", "Integer", **TEMPERATURE), point("mode", "Enum", range=["auto", "manual"])]
THERMOSTAT = profile(
    "7c20hatherm2", "wk", "Hall", function=THERMOSTAT_SETTINGS, status=[
        *THERMOSTAT_SETTINGS, point("temp_current", "Integer", unit="℃", min=-200, max=600, scale=1, step=1),
        point("fault", "Bitmap", label=["sensor_fault", "temp_fault"], maxlen=2),
    ],
    switch=True, temp_set=210, mode="manual", temp_current=195, fault=0,
)  # fmt: skip
CURTAIN_SETTINGS = [
    point("control", "Enum", range=["open", "stop", "close"]), point("percent_control", "Integer", unit="%", min=0, max=100, scale=0, step=1),
]  # fmt: skip
CURTAIN = profile(
    "c1aahacurta3", "cl", "Curtain", function=CURTAIN_SETTINGS,
    status=[*CURTAIN_SETTINGS, point("percent_state", "Integer", unit="%", min=0, max=100, scale=0, step=1)],
    control="close", percent_control=100, percent_state=100,
)  # fmt: skip
SOCKET = profile(
    "5e00hasocke4", "cz", "Kettle", function=[profiles.SWITCH], status=[
        profiles.SWITCH, point("cur_power", "Integer", unit="W", min=0, max=80000, scale=1, step=1),
        point("cur_voltage", "Integer", unit="V", min=0, max=5000, scale=1, step=1),
        point("cur_current", "Integer", unit="mA", min=0, max=30000, scale=0, step=1),
        point("add_ele", "Integer", unit="kW·h", min=0, max=50000, scale=3, step=1),
    ],
    switch_1=True, cur_power=1234, cur_voltage=2305, cur_current=535, add_ele=17,
)  # fmt: skip
WEATHER = profile(
    "ee10haweath5", "wsdcg", "Bath", status=[
        point("va_temperature", "Integer", unit="℃", min=-200, max=600, scale=1, step=1),
        point("va_humidity", "Integer", unit="%", min=0, max=100, scale=0, step=1),
        point("battery_percentage", "Integer", unit="%", min=0, max=100, scale=0, step=1),
    ],
    va_temperature=217, va_humidity=48, battery_percentage=90,
)  # fmt: skip
SIREN = profile("5100hasiren6", "sgbj", "Alarm", **both(point("alarm_switch", "Boolean")), alarm_switch=False)
STRANGER = profile(
    "ff00hastran7", "zzqq", "What is it", **both(
        point("flag", "Boolean"), point("word", "Enum", range=["one", "two"]), point("level", "Integer", unit="", min=0, max=50, scale=1, step=5),
        point("blob", "Raw", maxlen=128), point("note", "String", maxlen=32),
    ),
    flag=True, word="two", level=25, blob="AQID", note="hello",
)  # fmt: skip
DEVICES = [LIGHT, THERMOSTAT, CURTAIN, SOCKET, WEATHER, SIREN, STRANGER]

# At the gateway of the second implementation, which can send the same event twice.
BUTTON = profile(
    "b077habutto8", "wxkg", "Button", status=[point("switch_mode1", "Enum", range=["click", "double_click", "press"])], switch_mode1="click",
)  # fmt: skip


class ReferenceGateway:
    """The second implementation's gateway, in a thread: it outlives the event loops of the tests."""

    def __init__(self, key: bytes, devices: list[Profile]):
        self.gateway = gateway.Gateway(key, devices)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self.gateway.__aenter__())

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(2 * PATIENCE)

    def report(self, devid: str, **values: Any) -> None:
        """Sends an event as soon as somebody is there that has read, or reads, what there was before."""
        self.do(self._report({"devid": devid, "value": [{"k": k, "v": v} for k, v in values.items()]}))

    async def _report(self, change: dict[str, Any]) -> None:
        heard = lambda: any(s.close_code is None and s.asked("get_status") for s in self.gateway.authenticated)  # noqa: E731
        await eventually(heard, "a session that has asked for the values", PATIENCE)
        await self.gateway.push("state_changed", change)

    def stop(self) -> None:
        self.do(self.gateway.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


class Stack:
    def __init__(self, hearthgate: str, folder: Path, *, persistent: bool = True):
        self.hearthgate = hearthgate
        self.folder = folder
        self.environment = clean_environment(folder)
        self.key = crypto.parse_key(KEY_TEXT)
        self.key_file = write_key(folder / "device.key", KEY_TEXT)
        self.devices = write_profiles(folder / "devices", profiles.home(*DEVICES))
        self.reference = ReferenceGateway(self.key, profiles.home(BUTTON))
        # Home Assistant may be slow to take what all of its devices have to say.
        self.broker = Broker(folder / "mosquitto", "max_queued_messages 0", persistent=persistent, started=False)
        self.ha = HomeAssistant(folder / "homeassistant", self.broker.port)
        self.gateway: Running | None = None
        self.hub: Running | None = None
        self.address = "127.0.0.1:0"
        self.advertised = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        self.ids: dict[str, str] = {}

    # One after the other

    def start_broker(self) -> None:
        self.broker.start()

    def start_gateway(self) -> None:
        argv = [
            self.hearthgate, "gateway", "--listen", self.address, "--devices", self.devices, "--key-file", self.key_file,
            "--state", self.folder / "gateway", "--advertise", self.advertised,
        ]  # fmt: skip
        self.gateway = Running(list(map(str, argv)), self.environment)
        found = self.gateway.wait_for_log(program.LISTENS)
        self.address = f"{found[1]}:{found[2]}"

    def start_hub(self) -> None:
        argv = [
            self.hearthgate, "hub", "--gateway", f"ws://{self.address}", "--key-file", self.key_file,
            "--gateway", self.reference.gateway.url, "--key-file", self.key_file,
            "--mqtt", self.broker.url, "--state", self.folder / "hub", "--listen", self.advertised,
        ]  # fmt: skip
        self.hub = Running(list(map(str, argv)), self.environment)

    async def start(self, what: str) -> None:
        if what == "homeassistant":
            await self.ha.start()
        else:
            getattr(self, f"start_{what}")()

    def kill(self, what: str) -> None:
        {"broker": self.broker, "homeassistant": self.ha, "gateway": self.gateway, "hub": self.hub}[what].kill()

    async def start_all(self) -> None:
        for what in ("broker", "gateway", "hub", "homeassistant"):
            await self.start(what)
        for device in [*DEVICES, BUTTON]:
            await self.known(device)

    def stop(self) -> None:
        for running in (self.ha, self.hub, self.gateway, self.broker, self.reference):
            if running:
                running.stop()

    @property
    def processes(self) -> list[Running]:
        each = (self.broker.process, self.gateway, self.hub, self.ha.process)
        return [process for process in each if process]

    # What is asked

    async def known(self, device: Profile, patience: float = 60) -> None:
        """Waits until Home Assistant has entities of the device."""
        end = time.monotonic() + patience
        while not any(f"_{device['devid']}_" in unique for unique in await self._registry()):
            assert time.monotonic() < end, f"not within {patience} s: Home Assistant knows {device['devid']}"
            await asyncio.sleep(0.2)

    async def _registry(self) -> dict[str, str]:
        entries = await self.ha.registry()
        self.ids = {e["unique_id"]: e["entity_id"] for e in entries if e["platform"] == "mqtt"}
        return self.ids

    async def entity(self, device: Profile, code: str, platform: str) -> str:
        """The entity id of what `code` (and part) of a device is at Home Assistant; waits until it has one."""
        ends = f"_{device['devid']}_{code}"
        end = time.monotonic() + PATIENCE
        while True:
            for unique, entity_id in self.ids.items():
                if unique.startswith("hearthgate_") and unique.endswith(ends) and entity_id.startswith(f"{platform}."):
                    return entity_id
            assert time.monotonic() < end, f"no {platform} {ends}: there are {[i for i in self.ids if device['devid'] in i]}"
            await asyncio.sleep(0.05)
            await self._registry()

    async def state(self, device: Profile, code: str, platform: str, wanted: Callable[[State], Any] | str, patience: float = PATIENCE) -> State:
        """Waits until an entity has a state, or one that is wanted, and gives it."""
        entity_id = await self.entity(device, code, platform)
        is_wanted = (lambda s: s["state"] == wanted) if isinstance(wanted, str) else wanted
        return await self.ha.becomes(entity_id, is_wanted, f"{platform} of {device['devid']} {code}: {wanted}", patience)

    async def values(self, device: Profile) -> dict[str, Any]:
        """The values that the gateway has: asked by the second implementation's client."""
        async with client.connect(f"ws://{self.address}", self.key) as session:
            return profiles.values_of(await session.status(device["devid"]))

    async def gateway_has(self, device: Profile, wanted: Callable[[dict[str, Any]], Any], patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while not wanted(values := await self.values(device)):
            assert time.monotonic() < end, f"not within {patience} s; the gateway has {values}"
            await asyncio.sleep(0.05)

    async def write(self, device: Profile, **values: Any) -> None:
        """Writes at the gateway, as anybody else could."""
        async with client.connect(f"ws://{self.address}", self.key) as session:
            assert (await session.set(device["devid"], **values))["success"] is True

    def edit(self, device: Profile, *, online: bool = True, **values: Any) -> None:
        """Changes the device behind the gateway's back: its file."""
        (copy,) = profiles.home(device)
        copy["online"] = online
        copy["value"] = [{"k": k, "v": v} for k, v in (profiles.values_of(copy) | values).items()]
        write_profile(self.devices, copy)
