"""Commands that come while a hub still looks at what the broker keeps: each is carried out, or answered."""

import asyncio
import json

import pytest

from harness.hub import all_there, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles
from reference.gateway import Gateway

SOCKET = "0a11socket02"
SET, RESULT = topic(SOCKET, "set"), topic(SOCKET, "result")
REQUEST, RESPONSE = "hearthgate/bridge/request/list", "hearthgate/bridge/response/list"
# What another hub left that has ended without a goodbye. It gets more than a second to say that it is alive.
ANOTHER = {"hub": "another", "instance": "gone", "started": 1, "version": "0", "client_id": "another"}


def written(gateway):
    return [value["v"] for asked in gateway.asked("set_value") for value in asked["data"][0]["value"]]


async def test_they_are_carried_out_once_and_in_order_when_the_hub_is_ready(broker, listener, know, start_hub, key):
    listener.publish("hearthgate/bridge/info", ANOTHER, retain=True)
    await listener.fence()
    async with Gateway(key) as gateway:
        know(gateway)
        start_hub(broker)
        await eventually(lambda: gateway.asked("get_status") and listener.of("hearthgate/bridge/probe"), "the hub looks", 30)
        listener.publish(REQUEST, {"id": "early"})
        last = 0
        # All the way from looking to ready: there is no moment in which nobody listens.
        while last < 20 or (listener.text("hearthgate/bridge/state") != "online" and last < 200):
            last += 1
            listener.publish(f"{SET}/countdown_1", str(last), correlation=b"%d" % last)
            await asyncio.sleep(0.01)
        answer = (await listener.next(RESPONSE, 0)).json()
        assert (answer["id"], answer["success"]) == ("early", True), answer
        await all_there(listener, profiles.home())
        await eventually(lambda: len(listener.of(RESULT)) >= last, "all results", 30)
        # Commands that came later are behind them, and no filter brings one twice.
        assert (await listener.set(topic(SOCKET, "x").removesuffix("/x"), {"countdown_1": last + 1}))["success"] is True
        results = listener.of(RESULT)
        assert all(result.json()["success"] for result in results), [result.json() for result in results]
        # Writes end in whatever order.
        assert sorted(int(result.correlation) for result in results[:-1]) == list(range(1, last + 1))
        assert written(gateway) == list(range(1, last + 2))


@pytest.fixture
def slow(start_broker, tmp_path):
    """A broker that keeps from the hub what tells that everything has come: it looks for 10 s."""
    rights = tmp_path / "rights"
    rights.write_text("topic readwrite #\n\nuser hub\ntopic readwrite #\ntopic deny hearthgate/bridge/probe\n")
    rights.chmod(0o600)
    return start_broker(f"acl_file {rights}", "log_type subscribe")


async def test_what_waited_too_long_or_with_too_many_is_refused(slow, listen, know, start_hub, key):
    listener = listen(slow)
    async with Gateway(key) as gateway:
        know(gateway)
        start_hub(slow.with_login("hub"))
        # Only once it is subscribed does the broker have somebody for them; what the hub says of it comes before that.
        await eventually(lambda: slow.process.log_lines(r"hearthgate/\+/\+/set/\+$"), "the hub is subscribed", 30)
        await eventually(lambda: gateway.asked("get_status"), "the hub has read the gateway", 30)
        await listener.fence()
        for number in range(300):
            listener.publish(f"{SET}/countdown_1", "7", correlation=b"%d" % number)
        listener.publish(REQUEST, {"id": "early"})
        answer = (await listener.next(RESPONSE, 0, 40)).json()
        assert (answer["id"], answer["success"], answer["error"]["code"]) == ("early", False, "busy"), answer
        await eventually(lambda: len(listener.of(RESULT)) >= 300, "all results", 30)
        for number, result in enumerate(listener.of(RESULT)):
            answer = json.loads(result.payload)
            expected = "timeout" if number < 256 else "busy"
            assert (int(result.correlation), answer["success"], answer["error"]["code"]) == (number, False, expected), answer
            assert "again" in answer["error"]["message"]
        assert not gateway.asked("set_value")
        assert (await listener.set(topic(SOCKET, "x").removesuffix("/x"), {"countdown_1": 8}))["success"] is True
