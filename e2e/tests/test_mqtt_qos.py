"""`--mqtt-qos`: what subscribers get that were away for a while."""

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from harness.broker import VERSIONS
from harness.hub import all_there, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles

THERMOSTAT = "7c20thermo03"


class Sleeper:
    """A subscriber with a session that the broker keeps while it is away."""

    def __init__(self, broker, name):
        self.heard, self.ready = [], []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="sleeper", clean_session=False, protocol=VERSIONS["3.1.1"])
        self.client.on_connect = lambda client, *_: client.subscribe(name, 1)
        self.client.on_subscribe = lambda *_: self.ready.append(True)
        self.client.on_message = lambda _client, _data, message: self.heard.append(message)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def sleep(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [None, 0, 1])
async def test_what_happens_while_a_subscriber_is_away(start_gateway, know, broker, listener, start_hub, qos, version):
    gateway = start_gateway()
    know(gateway)
    start_hub(broker, "--mqtt-version", version, *(() if qos is None else ("--mqtt-qos", str(qos))))
    await all_there(listener, profiles.home())
    name = topic(THERMOSTAT, "state")
    awake = Sleeper(broker, name)
    await eventually(lambda: awake.ready and awake.heard, "subscribed")
    async with gateway.connect() as session:
        assert (await session.set(THERMOSTAT, temp_set=215))["success"]
        await eventually(lambda: b'"temp_set":21.5' in awake.heard[-1].payload, "the new value")
        assert awake.heard[-1].qos == (0 if qos == 0 else 1)
        awake.sleep()
        for value in (220, 225, 230):
            assert (await session.set(THERMOSTAT, temp_set=value))["success"]
            await eventually(lambda: listener.json(name)["temp_set"] == value / 10, "each value is published")
    again = Sleeper(broker, name)
    await eventually(lambda: again.ready and any(b'"temp_set":23' in one.payload for one in again.heard), "the newest value")
    # What was kept comes before what is retained at the new subscription.
    seen = [value for value in (220, 225) if any(f'"temp_set":{value / 10:g}'.encode() in one.payload for one in again.heard)]
    assert seen == ([] if qos == 0 else [220, 225])
    again.sleep()
