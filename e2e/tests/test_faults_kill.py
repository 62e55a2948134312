"""`kill -9` of either end at any moment: nothing that was acknowledged is lost, and nobody else notices: section 5 and the
promises in docs/internals.md.
"""

import asyncio
import contextlib
import signal
import stat
import time
import tomllib
from pathlib import Path
from statistics import median

import pytest

from harness import bare, lean, system
from harness.files import KEY_TEXT, write_profiles
from harness.program import LISTENS, Running, eventually
from reference.crypto import Options
from reference.profiles import point, profile

LAMPS = 6
WRITES = 1000
BRIGHT = point("bright", "Integer", unit="", min=0, max=99_999_999, scale=0, step=1)
UUID = "kill-test"


def lamps():
    return [profile(f"1a{n:04d}", "dj", f"Lamp {n}", function=[BRIGHT], status=[BRIGHT], bright=0) for n in range(LAMPS)]


class Written:
    """What one writer knows of its lamp."""

    def __init__(self):
        self.tried = self.acknowledged = 0

    async def go_on(self, client, devid):
        """Writes ever new values until the gateway is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                self.tried += 1
                response = await client.set(devid, bright=self.tried)
                assert response["success"], response
                self.acknowledged = self.tried


async def check(gateway, written):
    """Every lamp has what was acknowledged last, or what was on its way."""
    client = await lean.connect(gateway)
    statuses = (await client.ask("get_status", [d["devid"] for d in lamps()[: len(written)]]))["result"]
    for status, lamp in zip(statuses, written, strict=True):
        (found,) = [item["v"] for item in status["value"] if item["k"] == "bright"]
        assert lamp.acknowledged <= found <= lamp.tried, f"{status['devid']}: {found} when {lamp.acknowledged} was acknowledged"
        lamp.tried = lamp.acknowledged = found
    client.hang_up()


@pytest.mark.deadline(150)
async def test_no_acknowledged_write_is_lost_by_kills_in_the_midst_of_writes(start_gateway, spawn, seeded, tmp_path, measured):
    state, folder = tmp_path / "state", write_profiles(tmp_path / "lamps", lamps())
    arguments = ("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--devices", folder, "--state", state, "--uuid", UUID)
    written = [Written() for _ in range(LAMPS)]
    acknowledged = kills = early = 0
    while acknowledged < WRITES:
        # In the midst of a start, the opening of the store included.
        for _ in range(seeded.randrange(3)):
            starting = spawn(*arguments, HEARTHGATE_KEY=KEY_TEXT)
            await asyncio.sleep(seeded.uniform(0, 0.05))
            starting.kill()
            early += 1
        gateway = start_gateway(folder, Options(), "--uuid", UUID, state=state)
        assert not gateway.process.log_lines("WARN"), gateway.process.story()
        await check(gateway, written)
        before = sum(lamp.acknowledged for lamp in written)
        clients = [await lean.connect(gateway) for _ in range(LAMPS)]
        writers = [asyncio.create_task(w.go_on(c, d["devid"])) for w, c, d in zip(written, clients, lamps(), strict=True)]
        enough = before + seeded.randrange(1, WRITES // 5)
        await eventually(lambda e=enough: sum(w.acknowledged for w in written) >= e, "writes", patience=30)
        await asyncio.sleep(seeded.uniform(0, 0.01))
        gateway.process.kill()
        kills += 1
        await asyncio.gather(*writers)
        acknowledged = sum(lamp.acknowledged for lamp in written)
    await check(start_gateway(folder, Options(), "--uuid", UUID, state=state), written)
    measured(f"{acknowledged} acknowledged writes, {kills} kills in the midst of them and {early} while starting: none lost")


# Of SQLite: what is written to the log or the file, and what is brought to the disk.
CALLS = {"pwrite64": 60, "fsync": 4}


@pytest.mark.deadline(120)
async def test_a_kill_in_the_midst_of_a_commit_takes_back_nothing_that_was_acknowledged(start_gateway, seeded, tmp_path, measured):
    """Killed while it is about to write or to flush the store: what is acknowledged by then must be there already."""
    state, folder = tmp_path / "state", write_profiles(tmp_path / "lamps", lamps()[:1])
    written, kills = Written(), 0
    for number in range(12):
        call = "fsync" if number % 4 == 3 else "pwrite64"
        within = system.killed_at(call, seeded.randrange(3, CALLS[call] + 1))
        try:
            gateway = start_gateway(folder, Options(), "--uuid", UUID, state=state, within=within)
            client = await lean.connect(gateway)
        except (AssertionError, OSError):
            pass  # it was killed while starting
        else:
            await written.go_on(client, lamps()[0]["devid"])
        assert await asyncio.to_thread(Running.everything[-1].wait, 20) == -signal.SIGKILL
        kills += 1
        gateway = start_gateway(folder, Options(), "--uuid", UUID, state=state)
        assert not gateway.process.log_lines("WARN"), gateway.process.story()
        await check(gateway, [written])
        gateway.process.stop()
    measured(f"{written.acknowledged} acknowledged writes, {kills} kills in the midst of commits: none lost")
    assert written.acknowledged > kills


async def test_uuid_and_key_survive_kills_of_the_very_first_start(spawn, seeded, tmp_path):
    folder = write_profiles(tmp_path / "lamps", lamps())
    whole = 0.02
    for number in range(25):
        state = tmp_path / f"state-{number}"
        arguments = ("gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--devices", folder, "--state", state)
        first = spawn(*arguments)
        await asyncio.sleep(seeded.uniform(0, 1.2 * whole))
        first.kill()
        there = {path.name: path.read_text() for path in [state / "gateway-uuid", *state.glob("*/key")] if path.is_file()}
        begin = time.monotonic()
        second = spawn(*arguments)
        await asyncio.to_thread(second.wait_for_log, LISTENS)
        whole = time.monotonic() - begin
        (key,) = state.glob("*/key")
        assert len(key.read_text()) == 17 and stat.S_IMODE(key.stat().st_mode) == 0o600
        assert there.items() <= {"gateway-uuid": (state / "gateway-uuid").read_text(), "key": key.read_text()}.items()
        second.kill()


async def test_third_parties_that_are_killed_leave_nothing_behind(gateway, spawn, run, key_file, seeded, measured):
    """In the handshake, while reading, in the midst of a write."""
    good = await lean.connect(gateway)
    await good.round_trip()
    before = gateway.process.open_files()
    slowest = 0.0
    for round in range(6):
        watches = [spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file) for _ in range(2)]
        sets = [spawn("set", "0a11lamp0001", f"bright_value={20 + round}", "--gateway", gateway.url, "--key-file", key_file) for _ in range(2)]
        clients = [await lean.connect(gateway) for _ in range(10)]
        async with bare.connect(gateway.port) as half:
            half.writer.write(b"GET / HTTP/1.1\r\n")
            for client in clients:
                task = asyncio.create_task(client.set("0a11lamp0001", bright_value=30 + round))
                task.add_done_callback(lambda t: t.exception())
            await asyncio.sleep(seeded.uniform(0, 0.15))
            for process in [*watches, *sets]:
                process.signal(signal.SIGKILL)
            for client in clients:
                client.hang_up()
            half.writer.transport.abort()
        slowest = max(slowest, await good.round_trip())
    await eventually(lambda: gateway.process.open_files() <= before, "their sessions are given back", patience=20)
    assert gateway.process.process.poll() is None
    assert not gateway.process.log_lines("WARN|ERROR|panicked"), gateway.process.story()
    (await run("devices", "--gateway", gateway.url, "--key-file", key_file)).must_exit(0)
    measured(f"slowest round trip of another session meanwhile: {slowest * 1000:.0f} ms")


@pytest.mark.deadline(120)
async def test_the_known_gateways_survive_kills_in_the_midst_of_changes(run, spawn, environment, seeded, measured):
    """The file is whole at any moment, and so is the copy beside it."""
    folder = Path(environment["HOME"]) / ".config" / "hearthgate"
    keys = {f"uuid-{n}": f"key of number {n:02}" for n in range(4)}
    whole = [(await run("gateways", "add", uuid, "--uuid", uuid, stdin=key.encode())).must_exit(0).seconds for uuid, key in keys.items()]
    names = {uuid: {uuid} for uuid in keys}
    killed = done = 0
    for number in range(80):
        uuid = seeded.choice(list(keys))
        new = f"{uuid} {number}"
        change = ("rename", uuid, new) if seeded.random() < 0.5 else ("add", new, "--uuid", uuid, "--grace", f"{number + 1}s")
        process = spawn("gateways", *change, stdin=keys[uuid].encode())
        await asyncio.sleep(seeded.uniform(0, 1.3 * median(whole)))
        process.signal(signal.SIGKILL)
        code = await asyncio.to_thread(process.wait, 10)
        assert code in (0, -signal.SIGKILL), process.story()
        killed, done = killed + (code != 0), done + (code == 0)
        now, before = known(folder / "gateways.toml"), known(folder / "gateways.toml.bak")
        assert {u: g["key"] for u, g in now.items()} == keys
        for u, gateway in now.items():
            assert gateway["name"] in names[u] | ({new} if u == uuid else set())
        assert code != 0 or now[uuid]["name"] == new
        assert {u: g["key"] for u, g in before.items()}.items() <= keys.items()
        names = {u: {g["name"], before.get(u, g)["name"]} for u, g in now.items()}
    listed = (await run("gateways", "list", "--json")).must_exit(0)
    assert {g["uuid"] for g in listed.json()} == set(keys)
    kinds = {"gateways.toml", "gateways.toml.bak", "gateways.toml.lock", "gateways.toml.tmp"}
    assert {path.name for path in folder.iterdir()} <= kinds
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    measured(f"{killed} changes killed in their midst, {done} before that done")
    assert killed


def known(file):
    return {gateway["uuid"]: gateway for gateway in tomllib.loads(file.read_text())["gateway"]}
