"""A gateway that serves a folder notices what happens in it, and a broken file never takes a device away."""

import json

import pytest

from harness.files import write_profile
from harness.program import eventually
from reference import profiles
from reference.profiles import COUNTDOWN, SWITCH, profile

LAMP, SOCKET, SIREN = "0a11lamp0001", "0a11socket02", "e5siren00005"
NOTICED = 15


@pytest.fixture
def home(start_gateway):
    return start_gateway()


def edited(device, **values):
    """A copy of the profile with other values."""
    (copy,) = profiles.home(device)
    for item in copy["value"]:
        item["v"] = values.get(item["k"], item["v"])
    return copy


async def test_an_added_file_is_a_device_of_the_registry(home):
    new = profile("dd00new00001", "kg", "New", function=[SWITCH], status=[SWITCH], switch_1=True)
    async with home.connect() as session, home.connect() as other:
        write_profile(home.folder, new)
        event = await session.event("registry_updated", new["devid"], patience=NOTICED)
        assert event["data"] == {"devid": new["devid"], "state": 1}
        assert await other.event("registry_updated", new["devid"]) == event
        assert new["devid"] in await session.request("get_devices")
        assert await session.request("get_schema", [new["devid"]]) == [profiles.schema_of(new)]
        assert await session.status(new["devid"]) == profiles.status_of(new)
        assert (await session.set(new["devid"], switch_1=False))["success"] is True


async def test_a_removed_file_is_a_removed_device(home):
    async with home.connect() as session:
        (home.folder / f"{SOCKET}.json").unlink()
        event = await session.event("registry_updated", SOCKET, patience=NOTICED)
        assert event["data"] == {"devid": SOCKET, "state": 0}
        assert SOCKET not in await session.request("get_devices")
        assert (await session.ask("get_status", [SOCKET]))["error"]["code"] == "unknown_device"
        assert (await session.set(SOCKET, switch_1=True))["error"]["code"] == "unknown_device"


async def test_edited_values_are_changed_states(home):
    async with home.connect() as session:
        write_profile(home.folder, edited(profiles.LAMP, bright_value=77, work_mode="scene"))
        now = {}
        while not {"bright_value", "work_mode"} <= set(now):
            event = await session.event("state_changed", LAMP, patience=NOTICED)
            now |= profiles.values_of(event["data"])
        assert (now["bright_value"], now["work_mode"]) == (77, "scene")
        assert profiles.values_of(await session.status(LAMP)) == profiles.values_of(edited(profiles.LAMP, bright_value=77, work_mode="scene"))
        assert not [e for e in session.events() if e["event_type"] != "state_changed"]


async def test_a_value_outside_the_schema_is_reported_as_it_is(home):
    async with home.connect() as session:
        write_profile(home.folder, edited(profiles.LAMP, work_mode="zebra"))
        event = await session.event("state_changed", LAMP, patience=NOTICED)
        assert {"k": "work_mode", "v": "zebra"} in event["data"]["value"]


async def test_edited_online_is_an_online_event(home):
    async with home.connect() as session:
        write_profile(home.folder, profiles.home(profiles.SOCKET)[0] | {"online": False})
        event = await session.event("online_updated", SOCKET, patience=NOTICED)
        assert event["data"]["state"] is False
        assert (await session.status(SOCKET))["online"] is False
        assert (await session.set(SOCKET, switch_1=True))["error"]["code"] == "device_offline"

        write_profile(home.folder, profiles.SOCKET)
        event = await session.event("online_updated", SOCKET, patience=NOTICED)
        assert event["data"]["state"] is True
        assert profiles.values_of(event["data"]) == profiles.values_of(profiles.SOCKET)
        assert (await session.set(SOCKET, switch_1=True))["success"] is True


async def test_an_edited_schema_is_a_registry_event(home):
    (changed,) = profiles.home(profiles.SOCKET)
    changed["function"] = [SWITCH]
    changed["status"] = [SWITCH, COUNTDOWN]
    async with home.connect() as session:
        write_profile(home.folder, changed)
        event = await session.event("registry_updated", SOCKET, patience=NOTICED)
        assert event["data"] == {"devid": SOCKET, "state": 1}
        assert await session.request("get_schema", [SOCKET]) == [profiles.schema_of(changed)]
        assert (await session.set(SOCKET, countdown_1=1))["error"]["code"] == "unsupported_code"


BROKEN = {
    "half a file": lambda text: text[: len(text) // 2],
    "an empty file": lambda text: "",
    "no object": lambda text: "[]",
    "a field of another type": lambda text: text.replace('"online": true', '"online": "yes"'),
    "no devid": lambda text: text.replace('"devid"', '"id"'),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_file_keeps_the_last_good_version_and_is_named_in_the_log(home, name):
    path = home.folder / f"{SOCKET}.json"
    good = path.read_text(encoding="utf-8")
    async with home.connect() as session:
        path.write_text(BROKEN[name](good), encoding="utf-8")
        await eventually(lambda: path.name in home.process.log_text, "the log names the file", NOTICED)
        assert await session.status(SOCKET) == profiles.status_of(profiles.SOCKET)
        assert await session.request("get_schema", [SOCKET]) == [profiles.schema_of(profiles.SOCKET)]
        assert (await session.set(SOCKET, switch_1=True))["success"] is True
        assert not [e for e in session.events() if e["event_type"] != "state_changed"]

        write_profile(home.folder, edited(profiles.SOCKET, countdown_1=60))
        await session.first(
            lambda m: m.get("event_type") == "state_changed" and {"k": "countdown_1", "v": 60} in m["data"]["value"],
            patience=NOTICED,
        )


async def test_a_second_file_of_a_known_device_changes_nothing(home):
    async with home.connect() as session:
        impostor = edited(profiles.LAMP, bright_value=13)
        (home.folder / "impostor.json").write_text(json.dumps(impostor), encoding="utf-8")
        await eventually(lambda: "impostor.json" in home.process.log_text, "the log names the file", NOTICED)
        assert profiles.values_of(await session.status(LAMP))["bright_value"] == 500
        assert sorted(await session.request("get_devices")) == sorted(d["devid"] for d in profiles.ALL)


async def test_a_file_that_is_written_in_place_is_read_when_it_is_whole(home):
    """Editors truncate and write; what is read in between is at most a broken file."""
    path = home.folder / f"{LAMP}.json"
    async with home.connect() as session:
        for value in (601, 602, 603):
            path.write_text(json.dumps(edited(profiles.LAMP, bright_value=value)), encoding="utf-8")
            await session.first(
                lambda m, v=value: m.get("event_type") == "state_changed" and {"k": "bright_value", "v": v} in m["data"]["value"],
                patience=NOTICED,
            )
        assert {e["event_type"] for e in session.events()} == {"state_changed"}


async def test_a_file_that_is_written_again_unchanged_is_no_change_of_the_registry(home):
    async with home.connect() as session:
        write_profile(home.folder, profiles.SOCKET)
        write_profile(home.folder, edited(profiles.LAMP, bright_value=99))
        await session.event("state_changed", LAMP, patience=NOTICED)
        assert not [e for e in session.events() if e["event_type"] == "registry_updated"]


async def test_many_changes_at_once_all_arrive(home):
    new = profiles.many_sockets(20)
    async with home.connect() as session:
        for device in new:
            write_profile(home.folder, device)
        wanted = {d["devid"] for d in new}

        def added():
            return {e["data"]["devid"] for e in session.events() if e["event_type"] == "registry_updated"}

        await eventually(lambda: wanted <= added(), "every new device is told", NOTICED)
        assert wanted <= set(await session.request("get_devices"))
        ids = [e["id"] for e in session.events()]
        assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_devices_of_a_folder_and_of_a_file_are_served_together(start_gateway, tmp_path):
    file = tmp_path / "alone.json"
    file.write_text(json.dumps(profile("aa00alone", "qt", "Alone")), encoding="utf-8")
    gateway = start_gateway(profiles.home(profiles.SIREN), also=[file])
    async with gateway.connect() as session:
        assert sorted(await session.request("get_devices")) == ["aa00alone", SIREN]
