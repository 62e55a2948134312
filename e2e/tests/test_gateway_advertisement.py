"""The gateway makes itself known by UDP: section 7."""

import asyncio
import json
import time

import pytest

from reference.crypto import Options


class Listener(asyncio.DatagramProtocol):
    def __init__(self):
        self.heard = asyncio.Queue()

    def datagram_received(self, data, address):
        self.heard.put_nowait((time.monotonic(), data, address))


@pytest.fixture
def listen():
    """Opens a UDP port on the loopback address."""

    async def start():
        transport, listener = await asyncio.get_running_loop().create_datagram_endpoint(Listener, ("127.0.0.1", 0))
        return transport, listener, f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    return start


async def test_every_five_seconds_a_packet_tells_uuid_and_port(start_gateway, listen):
    here, first_listener, address = await listen()
    there, second_listener, other_address = await listen()
    gateway = start_gateway(None, Options(), "--uuid", "Test gateway 1", advertise=("--advertise", address, "--advertise", other_address))
    packets = []
    async with asyncio.timeout(40):
        for _ in range(2):
            packets.append(await first_listener.heard.get())
        await second_listener.heard.get()
    for _, data, (host, _) in packets:
        assert json.loads(data) == {"uuid": "Test gateway 1", "port": gateway.port}
        assert host == "127.0.0.1"
    # Five seconds, seen from a busy machine.
    assert 2 < packets[1][0] - packets[0][0] < 15
    here.close()
    there.close()


async def test_a_uuid_is_made_where_none_is_given(start_gateway, listen):
    here, listener, address = await listen()
    gateway = start_gateway(advertise=("--advertise", address))
    async with asyncio.timeout(10):
        packet = json.loads((await listener.heard.get())[1])
    assert packet["port"] == gateway.port
    assert 1 <= len(packet["uuid"]) <= 64
    assert packet["uuid"].isascii() and packet["uuid"].isprintable()
    here.close()


async def test_a_gateway_that_shall_not_advertise_is_silent(start_gateway, listen):
    here, listener, address = await listen()
    start_gateway(advertise=("--no-advertise",))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(6):
            await listener.heard.get()
    here.close()
