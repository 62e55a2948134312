"""Broker, hub and gateway, each killed and started again: everything is there again, and nothing is fired twice."""

import asyncio
import contextlib
import signal
import time

import pytest

from harness.broker import retained
from harness.hub import ROOT, UUID, all_there, configs, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles
from reference.crypto import Options
from reference.gateway import Gateway
from tests.test_mqtt_state import BUTTON

SOCKET = "0a11socket02"
STATE = "hearthgate/bridge/state"
# Two seconds are the promise; the rest is for a busy machine.
END = 5


@pytest.fixture
def restart_gateway(start_gateway):
    """Starts the gateway, again on the same port."""

    def start(port=0):
        return start_gateway(None, Options(), "--uuid", UUID, listen=f"127.0.0.1:{port}")

    return start


async def answers(listener):
    """Asks until the hub answers: what the broker has kept says nothing of whether the hub is back."""
    for _ in range(30):
        with contextlib.suppress(AssertionError):
            return await listener.request("list", patience=1)
    raise AssertionError("the hub does not answer")


async def works(listener, gateway, on):
    """A command goes all the way, and the state comes all the way back."""
    state = topic(SOCKET, "state")
    answer = await listener.set(topic(SOCKET, "set").removesuffix("/set"), {"switch_1": on})
    assert answer["success"] is True, answer
    await eventually(lambda: listener.json(state)["switch_1"] is on, "the state comes back")


@pytest.mark.parametrize("persistent", [True, False], ids=["kept", "lost"])
@pytest.mark.deadline(120)
async def test_the_broker_is_killed(start_broker, listen, restart_gateway, know, start_hub, measured, persistent):
    broker = start_broker(persistent=persistent)
    listener = listen(broker)
    gateway = restart_gateway()
    know(gateway)
    start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    await works(listener, gateway, True)
    for turn, on in enumerate((False, True)):
        broker.kill()
        # While it is away the device changes: the newest value is what counts. Each turn has values of its own, as the broker
        # may have kept those of the turn before.
        async with gateway.connect() as session:
            for value in range(40 * turn + 1, 40 * turn + 40):
                assert (await session.set(SOCKET, switch_1=not on, countdown_1=value))["success"]
        listener.now.clear()
        since, begin = len(listener.messages), time.monotonic()
        broker.start()
        at = await all_there(listener, devices, since)
        measured(f"everything was there again {at - begin:.1f} s after the broker")
        await eventually(lambda: listener.json(topic(SOCKET, "state"))["countdown_1"] == value, "the newest value", 30)
        await works(listener, gateway, on)
    kept = await retained(broker)
    assert set(configs(kept)) == set(configs(listener.now))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.deadline(120)
async def test_the_hub_is_killed(broker, listener, restart_gateway, know, start_hub, measured, version):
    gateway = restart_gateway()
    know(gateway)
    hub = start_hub(broker, "--mqtt-version", version)
    devices = profiles.home()
    await all_there(listener, devices)
    before = set(await retained(broker))
    for on in (True, False):
        hub.kill()
        await eventually(lambda: listener.text(STATE) == "offline", "the last will", 30)
        since, begin = len(listener.messages), time.monotonic()
        hub = start_hub(broker, "--mqtt-version", version)
        at = await all_there(listener, devices, since)
        measured(f"everything was there again {at - begin:.1f} s after the start of the hub")
        await works(listener, gateway, on)
        # Nothing flaps: once it was online, it stayed so.
        availability = [m.payload for m in listener.messages[since:] if m.topic.endswith("/availability") or m.topic == STATE]
        firsts = [m for m in listener.messages[since:] if m.topic == STATE]
        assert [m.payload for m in firsts][:1] == [b"online"] and b"offline" not in [m.payload for m in firsts], availability
    assert set(await retained(broker)) == before


@pytest.mark.deadline(120)
async def test_the_gateway_is_killed(broker, listener, restart_gateway, know, start_hub, measured):
    gateway = restart_gateway()
    know(gateway)
    start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    gateway.process.kill()
    await eventually(lambda: listener.text(f"{ROOT}/availability") == "offline", "the gateway is offline", 30)
    assert listener.text(STATE) == "online"
    since, begin = len(listener.messages), time.monotonic()
    gateway = restart_gateway(gateway.port)
    await eventually(lambda: listener.text(f"{ROOT}/availability") == "online", "the gateway is online", 30)
    measured(f"the gateway was there again {time.monotonic() - begin:.1f} s after its start")
    await works(listener, gateway, True)
    # Nothing of it was taken away meanwhile.
    assert all(m.payload for m in listener.messages[since:] if m.topic.startswith(("hearthgate/", "homeassistant/")))


@pytest.mark.deadline(240)
async def test_all_three_in_every_order(start_broker, listen, restart_gateway, know, start_hub):
    broker = start_broker()
    listener = listen(broker)
    gateway = restart_gateway()
    know(gateway)
    hub = start_hub(broker)
    devices = profiles.home()
    await all_there(listener, devices)
    on = True
    for order in (["broker", "hub", "gateway"], ["gateway", "broker", "hub"], ["hub", "gateway", "broker"]):
        broker.kill()
        hub.kill()
        gateway.process.kill()
        listener.now.clear()
        since = len(listener.messages)
        for what in order:
            if what == "broker":
                broker.start()
            elif what == "hub":
                hub = start_hub(broker)
            else:
                gateway = restart_gateway(gateway.port)
        await all_there(listener, devices, since)
        await works(listener, gateway, on)
        on = not on


@pytest.mark.deadline(120)
async def test_no_restart_replays_an_event(key, start_broker, listen, know, start_hub):
    broker = start_broker(persistent=True)
    listener = listen(broker)
    devices = [*profiles.home(), BUTTON]
    async with Gateway(key, [*profiles.home(), *profiles.home(BUTTON)]) as gateway:
        know(gateway)
        hub = start_hub(broker)
        await all_there(listener, devices)
        events = topic(BUTTON["devid"], "event")
        press = {"devid": BUTTON["devid"], "value": [{"k": "switch_mode1", "v": "press"}]}
        await gateway.push("state_changed", press)
        await listener.next(events, 0)
        gateway.home[BUTTON["devid"]]["value"][0]["v"] = "press"
        for victim in ("hub", "broker"):
            since = len(listener.messages)
            if victim == "hub":
                hub.kill()
                hub = start_hub(broker)
            else:
                broker.kill()
                broker.start()
            await all_there(listener, devices, since)
            await answers(listener)
            await gateway.push("state_changed", press)
            heard = await listener.next(events, since)
            await listener.fence()
            assert listener.of(events, since) == [heard], "one press, one event"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_says_offline_and_ends_within_two_seconds(broker, listener, restart_gateway, know, start_hub, number):
    know(restart_gateway())
    hub = start_hub(broker)
    await all_there(listener, profiles.home())
    begin = time.monotonic()
    hub.signal(number)
    code = await asyncio.to_thread(hub.wait, 20)
    seconds = time.monotonic() - begin
    assert code == 0 and seconds < END, (code, seconds)
    await listener.fence()
    assert listener.text(STATE) == "offline"
    assert (await retained(broker))[STATE] == b"offline"


async def test_a_signal_ends_it_as_fast_while_the_broker_is_away_or_hangs(broker, listener, restart_gateway, know, start_hub):
    know(restart_gateway())
    hub = start_hub(broker)
    await all_there(listener, profiles.home())
    broker.process.signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        hub.signal(signal.SIGTERM)
        code = await asyncio.to_thread(hub.wait, 20)
        seconds = time.monotonic() - begin
    finally:
        broker.process.signal(signal.SIGCONT)
    assert code == 0 and seconds < END, (code, seconds)
    await eventually(lambda: listener.text(STATE) == "offline", "offline in the end", 30)
    broker.kill()
    hub = start_hub(broker)
    await eventually(lambda: hub.log_lines("connecting again"), "a word about the broker", 30)
    begin = time.monotonic()
    hub.signal(signal.SIGTERM)
    code = await asyncio.to_thread(hub.wait, 20)
    assert code == 0 and time.monotonic() - begin < END


async def test_the_hub_waits_for_a_broker_that_comes_later(start_broker, listen, restart_gateway, know, start_hub):
    broker = start_broker()
    broker.kill()
    know(restart_gateway())
    hub = start_hub(broker)
    await eventually(lambda: hub.log_lines("no connection to the broker"), "a word in the log", 30)
    broker.start()
    listener = listen(broker)
    await all_there(listener, profiles.home())
    assert len(hub.log_lines("no connection to the broker")) == 1, "said once, not at every attempt"
