"""A few small devices in wire shape (section 11), one for each thing that a test wants to show."""

import copy
import json
from typing import Any

Profile = dict[str, Any]


def point(code: str, kind: str, **values: Any) -> dict[str, str]:
    return {"code": code, "type": kind, "values": json.dumps(values, ensure_ascii=False, separators=(",", ":"))}


def profile(devid: str, category: str, name: str, *, function=(), status=(), online=True, **values: Any) -> Profile:
    return {
        "devid": devid,
        "name": name,
        "category": category,
        "function": list(function),
        "status": list(status),
        "online": online,
        "value": [{"k": k, "v": v} for k, v in values.items()],
    }


SWITCH = point("switch_1", "Boolean")
COUNTDOWN = point("countdown_1", "Integer", unit="s", min=0, max=43200, scale=0, step=1)

# Every kind of data point that can be written.
LAMP_POINTS = [
    point("switch_led", "Boolean"),
    point("bright_value", "Integer", unit="", min=10, max=1000, scale=0, step=1),
    point("work_mode", "Enum", range=["white", "colour", "scene"]),
    point("colour_data", "Json", h={"min": 0, "max": 360}),
    point("scene_name", "String", maxlen=8),
    point("scene_raw", "Raw", maxlen=4),
    point("segments", "Bitmap", label=["left", "middle", "right"]),
    point("zones", "Bitmap", maxlen=5),
]

LAMP = profile(
    "0a11lamp0001", "dj", "Reading lamp", function=LAMP_POINTS, status=LAMP_POINTS,
    switch_led=True, bright_value=500, work_mode="white", colour_data={"h": 120, "s": 1000, "v": 700},
    scene_name="dusk", scene_raw="AQID", segments=5, zones=0,
)  # fmt: skip

SOCKET = profile("0a11socket02", "cz", "Kettle", function=[SWITCH, COUNTDOWN], status=[SWITCH, COUNTDOWN], switch_1=False, countdown_1=0)

TEMP_SET = point("temp_set", "Integer", unit="℃", min=50, max=350, scale=1, step=5)
THERMOSTAT = profile(
    "7c20thermo03", "wk", "Hall", function=[TEMP_SET, point("mode", "Enum", range=["auto", "manual"])],
    status=[TEMP_SET, point("mode", "Enum", range=["auto", "manual"]), point("temp_current", "Integer", unit="℃", min=-200, max=600, scale=1, step=1)],
    temp_set=210, mode="auto", temp_current=195,
)  # fmt: skip

# `level` is written as a number and reported as a word; `identify` can only be written; bounds are numeric strings.
ODD = profile(
    "7c20odd00004", "sfkzq", "Garden valve",
    function=[
        point("level", "Integer", min=0, max=10, scale=0, step=1), point("identify", "Boolean"),
        {"code": "minutes", "type": "Integer", "values": '{"unit":"min","min":"1","max":"100","scale":"0","step":"1"}'},
    ],
    status=[point("level", "Enum", range=["low", "high"]), {"code": "minutes", "type": "Integer", "values": '{"min":"1","max":"100"}'}],
    level="low", minutes=5,
)  # fmt: skip

SIREN = profile("e5siren00005", "sgbj", "Siren", function=[point("alarm", "Boolean")], status=[point("alarm", "Boolean")], online=False, alarm=False)

# What real devices do: values outside their schema, an unknown type, `values` that do not parse, a point that nothing declares.
UNTIDY = profile(
    "e5untidy0006", "qt", "Köhler ℃",
    function=[{"code": "fancy", "type": "Hologram", "values": "{oops"}],
    status=[
        {"code": "fancy", "type": "Hologram", "values": "{oops"}, point("phase", "Enum", range=["a", "b"]),
        point("text", "String", maxlen=3), point("ratio", "Integer", unit="kW·h", min=0, max=9, scale=0, step=1),
        {"code": "wide", "type": "Integer", "values": "{ \"unit\" : \"摄氏度\", \"min\":0,\n\"max\":5, \"colour\":[3,1,2] }"},
    ],
    fancy="x", phase="zebra", text={"a": [1, {"b": None}]}, ratio=21.5, wide=99, ghost=-7,
)  # fmt: skip

EMPTY = profile("f0empty00007", "wg2", "Bridge")

ALL = (LAMP, SOCKET, THERMOSTAT, ODD, SIREN, UNTIDY, EMPTY)


def home(*profiles: Profile) -> list[Profile]:
    """Fresh copies, so that no test changes another one's devices."""
    return [copy.deepcopy(profile) for profile in profiles or ALL]


def schema_of(device: Profile) -> dict[str, Any]:
    return {k: device[k] for k in ("devid", "category", "function", "status")}


def status_of(device: Profile) -> dict[str, Any]:
    return {k: device[k] for k in ("devid", "online", "value")}


def values_of(status: dict[str, Any]) -> dict[str, Any]:
    """The values of a status, of a `state_changed` or of a profile, by code."""
    return {item["k"]: item["v"] for item in status["value"]}


def many_sockets(count: int) -> list[Profile]:
    made = home(*[SOCKET] * count)
    for number, device in enumerate(made):
        device.update(devid=f"5e{number:06d}", name=f"Socket {number}")
    return made
