"""The hub's outlet for MQTT, against a real Mosquitto."""

import asyncio
import json
import signal
import subprocess
import time

import pytest

from harness.broker import Broker, Witness, wait_until
from harness.files import KEY_TEXT, write_key, write_profile
from harness.program import eventually
from reference import profiles
from reference.crypto import Options
from reference.gateway import Gateway

UUID = "bf0123456789abcdef"
ROOT = f"hearthgate/{UUID}"
SOCKET, LAMP, THERMOSTAT, SIREN = "0a11socket02", "0a11lamp0001", "7c20thermo03", "e5siren00005"
BUTTON_POINT = profiles.point("switch_mode1", "Enum", range=["click", "double_click", "press"])
BUTTON = profiles.profile("b0button0001", "wxkg", "Button", status=[BUTTON_POINT], switch_mode1="click")


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture
def witness(broker):
    with Witness(broker) as witness:
        yield witness


@pytest.fixture
def gateway(start_gateway):
    return start_gateway([*profiles.home(), BUTTON], Options(), "--uuid", UUID)


@pytest.fixture
def start_hub(spawn, broker, gateway, key_file):
    def start(*flags, url=None, gateway_url=None, **more):
        gateways = ["--gateway", gateway_url or gateway.url, "--key-file", str(key_file)]
        return spawn("hub", *gateways, "--mqtt", url or broker.url, "--no-discovery", *flags, **more)

    return start


@pytest.fixture
def hub(start_hub, witness):
    hub = start_hub()
    witness.wait("hearthgate/bridge/state", lambda text: text == "online")
    witness.wait(f"{ROOT}/availability", lambda text: text == "online")
    witness.wait(f"{ROOT}/{BUTTON['devid']}/state")
    witness.wait("hearthgate/bridge/devices", lambda text: len(json.loads(text)["devices"]) == len(profiles.ALL) + 1)
    return hub


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_everything_is_kept_at_the_broker(start_hub, witness, broker, version):
    start_hub("--mqtt-version", version)
    devices = len(profiles.ALL) + 1
    witness.wait("hearthgate/bridge/devices", lambda text: len(json.loads(text)["devices"]) == devices)
    wait_until(lambda: broker.kept().get("hearthgate/bridge/state") == "online", "the hub to be there")
    kept = broker.kept()
    assert kept[f"{ROOT}/availability"] == "online"
    assert kept[f"{ROOT}/{SIREN}/availability"] == "offline"
    assert json.loads(kept[f"{ROOT}/{THERMOSTAT}/state"])["temp_set"] == 21
    assert json.loads(kept[f"{ROOT}/{SOCKET}/state"])["switch_1"] is False
    configs = {topic: json.loads(text) for topic, text in kept.items() if topic.startswith("homeassistant/device/")}
    assert len(configs) == devices + 2, "one message a device, and the gateway and the hub"
    identifiers = {one for config in configs.values() for one in config["device"]["identifiers"]}
    for config in configs.values():
        assert config["origin"]["name"] == "Hearthgate"
        assert config["device"].get("via_device", "hearthgate_bridge") in identifiers
        # Home Assistant fills in what is missing for some of the components that share it, and trips over the others.
        assert all({"payload_available", "payload_not_available"} <= set(one) for one in config.get("availability", []))
    socket = configs[f"homeassistant/device/hearthgate_{UUID}_{SOCKET}/config"]
    assert socket["availability_mode"] == "all"
    assert [one["topic"] for one in socket["availability"]] == [
        "hearthgate/bridge/state", f"{ROOT}/availability", f"{ROOT}/{SOCKET}/availability"]
    assert not [topic for topic in kept if topic.endswith(("/event", "/result"))]
    # What is named in `via_device` is announced before.
    order = [seen.topic.split("/")[2] for seen in witness.messages if seen.topic.startswith("homeassistant/device/")]
    first = {name: order.index(name) for name in order}
    assert first["hearthgate_bridge"] < first[f"hearthgate_gateway_{UUID}"] < first[f"hearthgate_{UUID}_{SOCKET}"]


def test_a_command_is_answered_and_its_effect_comes_back(hub, witness):
    answer = witness.ask(f"{ROOT}/{SOCKET}/set/switch_1", "true", f"{ROOT}/{SOCKET}/result")
    assert answer["success"] and answer["codes"] == ["switch_1"]
    witness.wait(f"{ROOT}/{SOCKET}/state", lambda text: json.loads(text)["switch_1"] is True)
    answer = witness.ask(f"{ROOT}/{THERMOSTAT}/set", {"temp_set": 22.5, "mode": "manual"}, f"{ROOT}/{THERMOSTAT}/result")
    assert answer["success"], answer
    state = witness.wait(f"{ROOT}/{THERMOSTAT}/state", lambda text: json.loads(text)["temp_set"] == 22.5).json()
    assert state["mode"] == "manual" and state["temp_current"] == 19.5, "the whole object"


@pytest.mark.parametrize(
    "topic, payload, code",
    [
        (f"{SOCKET}/set/switch_9", "true", "unsupported_code"),
        (f"{THERMOSTAT}/set/temp_set", "99", "invalid_value"),
        (f"{THERMOSTAT}/set", "{", "invalid_value"),
        (f"{SIREN}/set/alarm", "true", "device_offline"),
        ("nowhere/set/switch_1", "true", "unknown_device"),
    ],
)
def test_what_cannot_be_is_refused_with_the_protocols_codes(hub, witness, topic, payload, code):
    result = f"{ROOT}/{topic.split('/')[0]}/result"
    answer = witness.ask(f"{ROOT}/{topic}", payload, result)
    assert not answer["success"] and answer["error"]["code"] == code, answer
    assert answer["error"]["message"]


def test_writes_of_a_device_arrive_in_their_order(hub, witness, gateway):
    for count in range(60):
        witness.client.publish(f"{ROOT}/{SOCKET}/set/countdown_1", str(count + 1), qos=1)
    witness.wait(f"{ROOT}/{SOCKET}/state", lambda text: json.loads(text)["countdown_1"] == 60)
    time.sleep(0.3)
    assert json.loads(witness.last(f"{ROOT}/{SOCKET}/state").payload)["countdown_1"] == 60


@pytest.mark.deadline(90)
async def test_a_second_press_is_a_second_event_and_none_is_replayed(broker, witness, spawn, key, key_file):
    async with Gateway(key, [BUTTON]) as gateway:
        root = f"hearthgate/127.0.0.1-{gateway.port}/{BUTTON['devid']}"
        hub = ("hub", "--gateway", gateway.url, "--key-file", key_file, "--mqtt", broker.url, "--no-discovery")

        def there(since=0):
            witness.wait("hearthgate/bridge/state", lambda text: text == "online", since=since)
            witness.wait(f"{root}/state", since=since)

        first = spawn(*hub)
        await asyncio.to_thread(there)
        assert not witness.of(f"{root}/event"), "none by reading"
        for count in (1, 2):
            press = {"devid": BUTTON["devid"], "value": [{"k": "switch_mode1", "v": "click"}]}
            await gateway.push("state_changed", press)
            await eventually(lambda: len(witness.of(f"{root}/event")) == count, f"press {count}", patience=20)
        # Values that come along with a device that is back are no presses.
        for online in (False, True):
            await gateway.push("online_updated", {"devid": BUTTON["devid"], "state": int(online), "value": press["value"]})
        await eventually(lambda: [seen.payload for seen in witness.of(f"{root}/availability")][-2:] == ["offline", "online"], "back", patience=20)
        first.signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait, 5)
        here = len(witness.messages)
        spawn(*hub)
        await asyncio.to_thread(there, here)
        events = witness.of(f"{root}/event")
        assert len(events) == 2 and not any(seen.retained for seen in events)
        assert f"{root}/event" not in await asyncio.to_thread(broker.kept)


def test_a_rename_changes_discovery_alone_and_a_removal_leaves_nothing(hub, witness, broker, gateway):
    before = broker.kept()
    config = f"homeassistant/device/hearthgate_{UUID}_{SOCKET}/config"
    answer = witness.request("rename", device=SOCKET, name="Teekessel")
    assert answer["success"] and answer["id"] == "rename", answer
    wait_until(lambda: json.loads(broker.kept(config)[config])["device"]["name"] == "Teekessel", "the new name")
    after = broker.kept()
    assert set(after) == set(before)
    ids = lambda text: {key: one["unique_id"] for key, one in json.loads(text)["components"].items()}  # noqa: E731
    assert ids(after[config]) == ids(before[config]), "entities stay what they are"
    listed = {one["device"]: one["name"] for one in witness.request("devices")["result"]["devices"]}
    assert listed[SOCKET] == "Teekessel"
    assert witness.request("rename", device="none", name="x")["error"]["code"] == "unknown_device"
    assert witness.request("remove", device=SOCKET)["error"]["code"] == "invalid_request", "the gateway has it"
    (gateway.folder / f"{SOCKET}.json").unlink()
    wait_until(lambda: not [topic for topic in broker.kept() if SOCKET in topic], "nothing of it to be left")
    assert set(before) - set(broker.kept()) == {config, f"{ROOT}/{SOCKET}/state", f"{ROOT}/{SOCKET}/availability"}


def test_a_device_that_went_while_the_hub_was_away_leaves_nothing(hub, start_hub, witness, broker, gateway):
    foreign = "homeassistant/device/somebody/config"
    witness.publish(foreign, {"origin": {"name": "Somebody"}, "device": {}, "components": {}}, retain=True)
    witness.publish("hearthgate/notes", "mine", retain=True)
    hub.signal(signal.SIGKILL)
    hub.wait(5)
    (gateway.folder / f"{SOCKET}.json").unlink()
    start_hub()
    wait_until(lambda: not [topic for topic in broker.kept() if SOCKET in topic], "nothing of it to be left")
    kept = broker.kept()
    assert foreign in kept and kept["hearthgate/notes"] == "mine", "only what is ours"
    assert f"{ROOT}/{LAMP}/state" in kept


def test_another_root_and_prefix_leave_nothing_of_the_old_ones(hub, start_hub, broker):
    hub.signal(signal.SIGTERM)
    assert hub.wait(5) == 0
    old = broker.kept()
    start_hub("--topic-root", "home/tuya", "--discovery-prefix", "ha")
    wait_until(lambda: broker.kept("home/#").get("home/tuya/bridge/state") == "online", "the new root")
    wait_until(lambda: not broker.kept("hearthgate/#") and not broker.kept("homeassistant/#"),
               lambda: f"the old ones to go: {[*broker.kept('hearthgate/#'), *broker.kept('homeassistant/#')]}")  # fmt: skip
    assert len(broker.kept("home/tuya/#")) == len([topic for topic in old if topic.startswith("hearthgate/")])


def test_sigterm_says_offline_within_two_seconds(hub, witness, broker):
    begin = time.monotonic()
    hub.signal(signal.SIGTERM)
    assert hub.wait(5) == 0
    assert time.monotonic() - begin < 2
    witness.wait("hearthgate/bridge/state", lambda text: text == "offline", patience=2)
    assert broker.kept()["hearthgate/bridge/state"] == "offline"


def test_kill_says_offline_by_the_last_will(hub, witness):
    hub.signal(signal.SIGKILL)
    witness.wait("hearthgate/bridge/state", lambda text: text == "offline")


def test_a_second_hub_is_refused_and_the_first_goes_on(hub, start_hub, witness, tmp_path, broker):
    second = start_hub(XDG_STATE_HOME=str(tmp_path / "other-state"))
    assert second.wait(15) == 1
    assert "another hub serves the topic root `hearthgate`" in second.log_text and "--topic-root" in second.log_text
    same_state = start_hub()
    assert same_state.wait(15) == 1 and "another hub" in same_state.log_text
    assert broker.kept()["hearthgate/bridge/state"] == "online"
    assert witness.ask(f"{ROOT}/{SOCKET}/set/switch_1", "true", f"{ROOT}/{SOCKET}/result")["success"]


def test_retained_commands_are_not_carried_out(start_hub, witness):
    witness.publish(f"{ROOT}/{SOCKET}/set/switch_1", "true", retain=True)
    hub = start_hub()
    witness.wait("hearthgate/bridge/state", lambda text: text == "online")
    state = witness.wait(f"{ROOT}/{SOCKET}/state").json()
    assert state["switch_1"] is False
    wait_until(lambda: "is retained" in hub.log_text, "the log to say so")
    assert witness.last(f"{ROOT}/{SOCKET}/state").json()["switch_1"] is False


@pytest.mark.parametrize("persistent", [False, True])
def test_a_broker_that_was_killed_has_everything_again(spawn, tmp_path, gateway, key_file, persistent):
    broker = Broker(tmp_path / "own", persistent=persistent)
    try:
        spawn("hub", "--gateway", gateway.url, "--key-file", key_file, "--mqtt", broker.url, "--no-discovery")
        count = len(profiles.ALL) + 1
        complete = lambda: len(broker.kept("homeassistant/#")) == count + 2 and broker.kept().get("hearthgate/bridge/state") == "online"  # noqa: E731
        wait_until(complete, "everything")
        before = set(broker.kept())
        broker.kill()
        write_profile(gateway.folder, BUTTON | {"online": False})
        time.sleep(1)
        broker.start()
        wait_until(lambda: set(broker.kept()) >= before and broker.kept().get(f"{ROOT}/{BUTTON['devid']}/availability") == "offline",
                   "everything again", patience=10)  # fmt: skip
    finally:
        broker.stop()


def test_home_assistants_birth_brings_everything_again(hub, witness):
    here = witness.publish("homeassistant/status", "online")
    witness.wait(f"homeassistant/device/hearthgate_{UUID}_{SOCKET}/config", since=here, patience=10)
    witness.wait(f"{ROOT}/{SOCKET}/state", since=here)


def test_a_gateway_that_is_not_there_holds_nobody_up_and_is_found_later(broker, witness, start_gateway, spawn, key_file, tmp_path):
    live = start_gateway(profiles.home(profiles.SOCKET), Options(), "--uuid", UUID)
    spawn("hub", "--gateway", "ws://127.0.0.1:1", "--key-file", key_file, "--gateway", live.url, "--key-file", key_file,
          "--mqtt", broker.url, "--no-discovery")  # fmt: skip
    witness.wait(f"{ROOT}/{SOCKET}/state")
    witness.wait("hearthgate/bridge/state", lambda text: text == "online")


def test_secrets_are_in_no_topic_and_no_log(spawn, tmp_path, gateway, key_file, environment):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "hub", "geh:eim@1"], check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "witness", "w"], check=True, capture_output=True)
    passwords.chmod(0o644)
    broker = Broker(tmp_path / "own", more=f"allow_anonymous false\npassword_file {passwords}")
    try:
        secret = write_key(tmp_path / "mqtt.password", "geh:eim@1")
        url = f"mqtt://hub@127.0.0.1:{broker.port}"
        hub = spawn("hub", "--gateway", gateway.url, "--key-file", key_file, "--mqtt", url, "--mqtt-password-file", secret,
                    "--no-discovery", "--log-level", "trace")  # fmt: skip
        with Witness(broker, username="witness", password="w") as witness:
            witness.wait("hearthgate/bridge/state", lambda text: text == "online")
            witness.wait(f"{ROOT}/{SOCKET}/state")
            said = "\n".join(seen.topic + seen.payload for seen in witness.messages)
        for secret_text in ("geh:eim@1", KEY_TEXT):
            assert secret_text not in said and secret_text not in hub.log_text
        wrong = spawn("hub", "--gateway", gateway.url, "--key-file", key_file, "--mqtt", url, "--no-discovery", "--topic-root", "b",
                      HEARTHGATE_MQTT_PASSWORD="falsch9")  # fmt: skip
        wait_until(lambda: "check user name, password" in wrong.log_text, lambda: wrong.story())
        assert "falsch9" not in wrong.log_text
    finally:
        broker.stop()


async def test_what_is_wrong_is_said_before_anything_is_connected(run, key_file, tmp_path):
    (await run("hub")).must_exit(2).must_say("no outlet", "--mqtt")
    (await run("hub", "--mqtt", "mqtt://127.0.0.1:1")).must_exit(2).must_say("no gateway", "gateways add")
    wrong = (await run("hub", "--mqtt", "mqtt://u:geheim@h:x")).must_exit(2)
    assert "geheim" not in wrong.err
    given = ["--gateway", "ws://127.0.0.1:1", "--key-file", str(key_file), "--check-config"]
    right = (await run("hub", "--mqtt", "mqtt://127.0.0.1:1", *given)).must_exit(0)
    assert "1 gateways" in right.out
    (await run("hub", "--mqtt", "mqtts://h", "--mqtt-ca-file", str(tmp_path / "none.pem"), *given)).must_exit(2).must_say("none.pem")
    (await run("hub", "--mqtt", "mqtt://h", "--topic-root", "a/#", *given)).must_exit(2).must_say("the topic root")
    assert "geheim" not in (await run("hub", "--help", HEARTHGATE_MQTT="mqtt://u:geheim@h")).must_exit(0).out
    example = (await run("config", "example", "--hub")).must_exit(0).out
    assert "password_file" in example
