"""The dumps of real devices, where there is a folder of them: everything comes through the protocol as it is.

`../shared/devices` beside the project, or the folder that HEARTHGATE_DEVICES names.
"""

import json
import os
from pathlib import Path

import pytest

from harness.program import ROOT
from reference import wire

FOLDER = Path(os.environ.get("HEARTHGATE_DEVICES", ROOT.parent / "shared" / "devices"))
FILES = sorted(FOLDER.glob("*.json")) if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not FILES, reason=f"no device dumps in {FOLDER}: only these checks are left out")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def bounds(point):
    """What a data point accepts at its limits, and what lies just beyond."""
    try:
        values = json.loads(point["values"])
    except ValueError:
        return [], []
    if point["type"] == "Integer":
        try:
            least, most = int(values["min"]), int(values["max"])
        except (KeyError, ValueError, TypeError):
            return [], []
        return [least, most], [least - 1, most + 1, str(least), True, least + 0.5]
    if point["type"] == "Enum" and values.get("range"):
        return values["range"], ["no such word", 0]
    if point["type"] == "Bitmap" and values.get("label"):
        flags = len(values["label"])
        return [0, 2**flags - 1], [-1, 2**flags]
    if point["type"] == "String" and "maxlen" in values:
        most = int(values["maxlen"])
        return ["", "x" * most], ["x" * (most + 1), 7]
    if point["type"] == "Boolean":
        return [True, False], [1, "true"]
    return [], []


async def test_every_schema_and_value_comes_back_byte_for_byte(start_gateway, options):
    gateway = start_gateway(FOLDER, options)
    async with gateway.connect() as session:
        assert sorted(await session.request("get_devices")) == sorted(load(file)["devid"] for file in FILES)
        for file in FILES:
            device = load(file)
            (schema,) = await session.request("get_schema", [device["devid"]])
            assert schema == {k: device[k] for k in ("devid", "category", "function", "status")}, file.name
            (status,) = await session.request("get_status", [device["devid"]])
            assert status == {k: device[k] for k in ("devid", "online", "value")}, file.name


async def test_the_very_digits_and_the_order_of_members_stay(start_gateway, command):
    gateway = start_gateway(FOLDER)
    printed = {}
    for name in ("schema", "status"):
        for entry in wire.verbatim((await command(gateway.url, name, "--json")).must_exit(0).out):
            printed[name, wire.member(entry, "devid")] = entry
    for file in FILES:
        device = wire.verbatim(file.read_text(encoding="utf-8"))
        devid = wire.member(device, "devid")
        for name, members in [("schema", ["category", "function", "status"]), ("status", ["online", "value"])]:
            for member in members:
                assert wire.member(printed[name, devid], member) == wire.member(device, member), (file.name, member)


@pytest.mark.deadline(120)
async def test_every_writable_point_takes_its_limits_and_nothing_beyond(start_gateway):
    gateway = start_gateway(FOLDER)
    tried = 0
    async with gateway.connect() as session:
        for file in FILES:
            device = load(file)
            for point in device["function"] if device["online"] else []:
                accepted, refused = bounds(point)
                for value in accepted:
                    answer = await session.set(device["devid"], **{point["code"]: value})
                    assert answer["success"] is True, (file.name, point, value, answer)
                for value in refused:
                    answer = await session.set(device["devid"], **{point["code"]: value})
                    assert answer["success"] is False, (file.name, point, value)
                    assert answer["error"]["code"] == "invalid_value", (file.name, point, value, answer)
                tried += len(accepted) + len(refused)
    assert tried > 100
    print(f"{tried} writes to {len(FILES)} devices")
