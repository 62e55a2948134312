"""A thousand devices through the hub to a real Mosquitto: all there, changes in time, memory that stays; TLS."""

import asyncio
import json
import signal
import subprocess

import pytest

from harness.broker import Broker, Witness, wait_until
from harness.program import eventually
from reference import profiles
from reference.gateway import Gateway

COUNT, A_SECOND, SECONDS = 1000, 200, 12


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path / "broker")
    yield broker
    broker.stop()


def memory(process) -> int:
    """Resident memory in KiB."""
    with open(f"/proc/{process.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


async def change(gateway, devices, rounds, first):
    """Pushes changes of 200 devices a second; gives the last value of each."""
    last = {}
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in range(rounds * A_SECOND):
        device = devices[number % len(devices)]["devid"]
        last[device] = first + number
        await gateway.push("state_changed", {"devid": device, "value": [{"k": "countdown_1", "v": first + number}]})
        await asyncio.sleep(max(0, begin + number / A_SECOND - loop.time()))
    return last


def arrived(witness, root, last):
    newest = {seen.topic: seen.payload for seen in list(witness.messages) if seen.topic.endswith("/state")}
    return [d for d, value in last.items() if json.loads(newest.get(f"{root}/{d}/state", "{}")).get("countdown_1") != value]


@pytest.mark.deadline(240)
async def test_a_thousand_devices_and_a_broker_that_stalls(broker, spawn, key, key_file):
    devices = profiles.many_sockets(COUNT)
    async with Gateway(key, devices) as gateway:
        root = f"hearthgate/127.0.0.1-{gateway.port}"
        hub = spawn("hub", "--gateway", gateway.url, "--key-file", key_file, "--mqtt", broker.url, "--no-discovery")
        all_there = lambda: len(broker.kept("homeassistant/#")) == COUNT + 2  # noqa: E731
        await asyncio.to_thread(wait_until, all_there, "all devices to be discovered", 60)
        witness = await asyncio.to_thread(Witness, broker, f"{root}/#")
        try:
            # Warm: every device has changed once.
            last = await change(gateway, devices, 5, 1)
            await eventually(lambda: not arrived(witness, root, last), "the first changes", patience=20)
            before = memory(hub)
            last = await change(gateway, devices, SECONDS, 10_000)
            await eventually(lambda: not arrived(witness, root, last), "all changes", patience=20)
            assert memory(hub) < before * 1.15 + 4096, (before, memory(hub))
            # A broker that takes nothing costs no memory, and has the newest values soon after.
            broker.process.send_signal(signal.SIGSTOP)
            try:
                last = await change(gateway, devices, SECONDS, 20_000)
                assert memory(hub) < before * 1.15 + 8192, (before, memory(hub))
            finally:
                broker.process.send_signal(signal.SIGCONT)
            await eventually(lambda: not arrived(witness, root, last), "the newest values", patience=30)
            kept = {topic for topic in await asyncio.to_thread(broker.kept) if root in topic}
            assert len(kept) == 2 * COUNT + 2
        finally:
            witness.stop()


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def test_tls_with_an_authority_of_ones_own_and_a_client_certificate(tmp_path, start_gateway, spawn, key_file):
    folder = tmp_path / "tls"
    folder.mkdir()
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests", "-days", "2", folder=folder)
    for name in ("broker", "hub"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}", folder=folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem",
                "-days", "2", "-extfile", f"{name}.ext", folder=folder)  # fmt: skip
    tls = f"cafile {folder}/ca.pem\ncertfile {folder}/broker.pem\nkeyfile {folder}/broker.key\nrequire_certificate true\n"
    broker = Broker(tmp_path / "broker", tls=tls)
    try:
        gateway = start_gateway(profiles.home(profiles.SOCKET))
        base = ("hub", "--gateway", gateway.url, "--key-file", key_file, "--no-discovery")
        there = ("--mqtt", f"mqtts://127.0.0.1:{broker.port}", "--mqtt-ca-file", folder / "ca.pem")
        own = ("--mqtt-cert-file", folder / "hub.pem", "--mqtt-cert-key-file", folder / "hub.key")
        nobody = spawn(*base, *there, "--topic-root", "nobody")
        wait_until(lambda: "connecting again" in nobody.log_text, nobody.story)
        assert "connected to the broker" not in nobody.log_text
        for version in ("5", "3.1.1"):
            hub = spawn(*base, *there, *own, "--mqtt-version", version, "--topic-root", f"v{version[0]}")
            wait_until(lambda: "connected to the broker mqtts://" in hub.log_text, hub.story)
        strange = spawn(*base, "--mqtt", f"mqtts://127.0.0.1:{broker.port}", "--topic-root", "strange")
        wait_until(lambda: "no TLS with the broker" in strange.log_text or "no authorities" in strange.log_text, strange.story)
    finally:
        broker.stop()
