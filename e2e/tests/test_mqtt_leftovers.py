"""What the broker keeps of what is no more is cleared, and nothing of anybody else; and two hubs on one topic root."""

import asyncio
import json
import signal

from harness.broker import retained
from harness.hub import ROOT, UUID, all_there, configs, identifier, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles

SOCKET = "0a11socket02"
FOREIGN = {
    "zigbee2mqtt/lamp": b'{"state":"ON"}',
    "homeassistant/device/other_one/config": b'{"device":{"identifiers":["other"]},"origin":{"name":"other"},"components":{}}',
    "homeassistant/light/kitchen/config": b'{"name":"Kitchen"}',
    # Of a hub with another topic root.
    "homeassistant/device/hearthgate_gateway_else/config": json.dumps({
        "device": {"identifiers": ["hearthgate_gateway_else"]}, "origin": {"name": "Hearthgate"},
        "availability": [{"topic": "cottage/bridge/state"}], "components": {},
    }).encode(),
    "hearthgate/notes/by/somebody": b"mine",
    "hearthgate2/bridge/state": b"online",
}  # fmt: skip


async def plant(listener):
    for name, payload in FOREIGN.items():
        listener.publish(name, payload, retain=True)
    await listener.fence()


async def ours(broker):
    """What is kept, without what is not ours, which must all be there."""
    kept = await retained(broker)
    assert {name: kept.get(name) for name in FOREIGN} == FOREIGN
    return {name: payload for name, payload in kept.items() if name not in FOREIGN}


def expected(devices, root="hearthgate", prefix="homeassistant", hub="hearthgate_bridge"):
    names = {f"{root}/bridge/{what}" for what in ("state", "info", "devices")} | {f"{root}/{UUID}/{what}" for what in ("state", "availability")}
    names |= {f"{root}/{UUID}/{d['devid']}/{what}" for d in devices for what in ("state", "availability")}
    identifiers = {identifier(d["devid"]) for d in devices} | {hub}
    return names, identifiers, f"{prefix}/device/"


def check(kept, devices, **more):
    names, identifiers, prefix = expected(devices, **more)
    assert {name for name in kept if not name.startswith(prefix)} == names
    found = configs(kept, prefix.removesuffix("/device/"))
    assert {key for key in found if not key.startswith("hearthgate_gateway_")} == identifiers
    assert len([name for name in kept if name.startswith(prefix)]) == len(identifiers) + 1


async def test_what_was_removed_while_the_hub_was_away_is_cleared(broker, listener, start_gateway, know, start_hub):
    await plant(listener)
    gateway = start_gateway()
    know(gateway)
    hub = start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    check(await ours(broker), devices)
    hub.kill()
    (gateway.folder / f"{SOCKET}.json").unlink()
    async with gateway.connect() as session:
        while SOCKET in await session.request("get_devices"):
            await asyncio.sleep(0.05)
    start_hub(broker)
    await eventually(lambda: not [name for name in list(listener.now) if SOCKET in name], "nothing of the removed device", 30)
    rest = [d for d in devices if d["devid"] != SOCKET]
    await eventually(lambda: len((listener.json("hearthgate/bridge/devices") or {"devices": []})["devices"]) == len(rest), "the list")
    check(await ours(broker), rest)


async def test_what_was_renamed_or_removed_while_it_ran_leaves_nothing_behind(broker, listener, start_gateway, know, start_hub):
    await plant(listener)
    gateway = start_gateway()
    know(gateway)
    start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    assert (await listener.request("rename", device=SOCKET, name="Kettle"))["success"] is True
    (gateway.folder / f"{SOCKET}.json").unlink()
    await eventually(lambda: not [name for name in list(listener.now) if SOCKET in name], "nothing of the removed device", 30)
    check(await ours(broker), [d for d in devices if d["devid"] != SOCKET])
    # The gateway itself is taken out of the known ones; another one stays.
    know(("another", "Other", gateway.port))
    await eventually(lambda: not [name for name in list(listener.now) if UUID in name], "nothing of the removed gateway", 30)
    await eventually(lambda: any(name.startswith("hearthgate/another/") for name in list(listener.now)), "the other gateway", 30)
    kept = await ours(broker)
    assert not [name for name in kept if UUID in name or UUID.replace("-", "-2d") in name], sorted(kept)
    assert any(name.startswith("hearthgate/another/") for name in kept)


async def test_another_topic_root_and_prefix_leave_nothing_of_the_old_ones(broker, listener, start_gateway, know, start_hub):
    await plant(listener)
    know(start_gateway())
    hub = start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    hub.signal(signal.SIGTERM)
    await asyncio.to_thread(hub.wait, 20)
    hub = start_hub(broker, "--topic-root", "home/tuya", "--discovery-prefix", "ha")
    done = lambda: (  # noqa: E731
        listener.text("home/tuya/bridge/state") == "online"
        and not [n for n in list(listener.now) if n.startswith(("hearthgate/", "homeassistant/device/")) and n not in FOREIGN]
        and {identifier(d["devid"]) for d in devices} <= set(configs(listener.now, "ha"))
    )
    # Answers, the log and the like are not retained: they are not taken for something that is left.
    for name in [n for n in list(listener.now) if n.startswith("hearthgate/") and n not in await retained(broker)]:
        listener.now.pop(name, None)
    await eventually(done, "all at the new place and nothing at the old one", 30)
    check(await ours(broker), devices, root="home/tuya", prefix="ha", hub="hearthgate_bridge_home-2ftuya")
    hub.kill()
    start_hub(broker, "--topic-root", "home/tuya")
    await eventually(lambda: not [n for n in list(listener.now) if n.startswith("ha/device/")], "nothing below the old prefix", 30)
    await eventually(lambda: {identifier(d["devid"]) for d in devices} <= set(configs(listener.now)), "the discovery is back", 30)
    check(await ours(broker), devices, root="home/tuya", hub="hearthgate_bridge_home-2ftuya")


async def test_what_is_left_of_a_gateway_that_nobody_knows_can_be_removed(broker, listener, start_gateway, know, start_hub):
    await plant(listener)
    know(start_gateway())
    listener.publish("hearthgate/long-gone/lamp/state", "{}", retain=True)
    listener.publish("hearthgate/long-gone/lamp/availability", "online", retain=True)
    await listener.fence()
    start_hub(broker)
    await all_there(listener, profiles.home())
    answer = await listener.request("remove", gateway="long-gone")
    assert answer["success"] is True, answer
    await eventually(lambda: not [name for name in list(listener.now) if "long-gone" in name], "nothing of it")
    check(await ours(broker), profiles.home())


async def test_a_second_hub_of_the_same_folder_is_refused(broker, listener, start_gateway, know, start_hub, run):
    know(start_gateway())
    first = start_hub(broker)
    await all_there(listener, profiles.home())
    outcome = await run("hub", "--no-web", "--no-discovery", "--mqtt", broker.url)
    outcome.must_exit(1).must_say("another hub", "topic root `hearthgate`", "--topic-root")
    await untouched(first, listener)


async def test_a_second_hub_of_another_machine_is_refused(broker, listener, start_gateway, know, start_hub, run, tmp_path):
    know(start_gateway())
    first = start_hub(broker)
    await all_there(listener, profiles.home())
    for more in ((), ("--mqtt-version", "3.1.1")):
        outcome = await run("hub", "--no-web", "--no-discovery", "--mqtt", broker.url, "--state", tmp_path / "other", *more)
        outcome.must_exit(1).must_say("another hub serves the topic root `hearthgate`", broker.url, "--topic-root")
        await untouched(first, listener)
    # Another root is what it was told, and both live.
    start_hub(broker, "--state", tmp_path / "other", "--topic-root", "other", "--discovery-prefix", "ha")
    await eventually(lambda: listener.text("other/bridge/state") == "online", "the second one at its own root", 30)
    await untouched(first, listener)


async def untouched(hub, listener):
    assert hub.process.poll() is None, hub.story()
    await listener.fence()
    assert listener.text("hearthgate/bridge/state") == "online"
    assert listener.text(f"{ROOT}/availability") == "online"
    assert (await listener.set(topic(SOCKET, "set").removesuffix("/set"), {"switch_1": True}))["success"] is True


async def test_the_same_client_id_is_no_battle(broker, listener, start_gateway, know, start_hub, tmp_path):
    know(start_gateway())
    first = start_hub(broker, "--client-id", "same")
    await all_there(listener, profiles.home())
    second = start_hub(broker, "--client-id", "same", "--state", tmp_path / "other")
    ended = lambda: [h for h in (first, second) if h.process.poll() is not None]  # noqa: E731
    (loser,) = await eventually(ended, "one of them gives up", 30)
    await asyncio.to_thread(loser.wait, 5)
    assert loser.process.returncode == 1 and loser.log_lines("client.id") and loser.log_lines("same"), loser.story()
    await eventually(lambda: listener.text("hearthgate/bridge/state") == "online", "the other one is there", 30)
    (winner,) = [h for h in (first, second) if h is not loser]
    assert winner.process.poll() is None
