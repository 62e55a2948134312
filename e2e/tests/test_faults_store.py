"""A damaged store, a folder that cannot be written, a full disk: said clearly, and nothing is ever overwritten."""

import re
from pathlib import Path

import pytest

from harness import lean, program, system
from harness.files import write_profiles
from harness.program import eventually
from reference import profiles
from reference.crypto import Options

LAMP = "0a11lamp0001"
FIRST, STORED = 500, 321  # the profile's, and what was written
UUID = "store-test"
ASIDE = re.compile(r"WARN.*cannot be used \((.*)\): set aside as (\S+), ")


@pytest.fixture
def keeps(start_gateway, tmp_path):
    """Starts the gateway that keeps its values."""
    folder = write_profiles(tmp_path / "kept-devices", profiles.home())

    def start(**more):
        more = {"state": tmp_path / "state"} | more
        return start_gateway(folder, Options(), "--uuid", UUID, **more)

    return start


@pytest.fixture
def store(tmp_path):
    return tmp_path / "state" / UUID / "values.db"


async def brightness(gateway):
    client = await lean.connect(gateway)
    (status,) = (await client.ask("get_status", [LAMP]))["result"]
    client.hang_up()
    return profiles.values_of(status)["bright_value"]


async def write(gateway, value):
    client = await lean.connect(gateway)
    response = await client.set(LAMP, bright_value=value)
    client.hang_up()
    return response


DAMAGE = {
    "empty": lambda content, seeded: b"",
    "cut off": lambda content, seeded: content[: seeded.randrange(1, len(content))],
    "cut off in the head": lambda content, seeded: content[: seeded.randrange(1, 100)],
    "garbage": lambda content, seeded: seeded.randbytes(len(content)),
    "garbage in the midst": lambda content, seeded: content[:4096] + seeded.randbytes(4096) + content[8192:],
    "zeros in the midst": lambda content, seeded: content[:4096] + bytes(4096) + content[8192:],
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_damaged_store_is_set_aside_and_kept_to_the_byte(keeps, store, seeded, kind):
    gateway = keeps()
    assert (await write(gateway, STORED))["success"]
    gateway.process.stop()
    damaged = DAMAGE[kind](store.read_bytes(), seeded)
    store.write_bytes(damaged)
    for _ in range(2):
        gateway = keeps()
        # A cut may have taken nothing that counts.
        lines = gateway.process.log_lines("WARN")
        assert await brightness(gateway) == (FIRST if lines else STORED)
        if lines:
            break
        gateway.process.stop()
        assert kind == "cut off"
        store.write_bytes(store.read_bytes()[:5000])
        damaged = store.read_bytes()
    (line,) = lines
    aside = Path(ASIDE.search(line)[2])
    assert aside.parent == store.parent and aside.read_bytes() == damaged
    assert (await write(gateway, STORED + 1))["success"]
    gateway.process.kill()
    gateway = keeps()
    assert not gateway.process.log_lines("WARN"), gateway.process.story()
    assert await brightness(gateway) == STORED + 1
    assert aside.read_bytes() == damaged


async def test_a_log_that_is_cut_off_gives_an_earlier_state_and_no_other(keeps, store, seeded):
    """As after a power loss that kept the beginning of what was written."""
    gateway = keeps()
    for value in range(100, 130):
        assert (await write(gateway, value))["success"]
    gateway.process.kill()
    log = store.with_name("values.db-wal")
    whole, base = log.read_bytes(), store.read_bytes()
    for _ in range(4):
        store.write_bytes(base)
        log.write_bytes(whole[: seeded.randrange(len(whole))])
        gateway = keeps()
        assert not gateway.process.log_lines("WARN"), gateway.process.story()
        assert await brightness(gateway) in (FIRST, *range(100, 130))
        gateway.process.kill()


async def test_a_folder_that_cannot_be_written_ends_the_start(run, keeps, store, tmp_path, key_file):
    gateway = keeps()
    assert (await write(gateway, STORED))["success"]
    gateway.process.stop()
    before = store.read_bytes()
    state = tmp_path / "state"
    within = system.own_mounts(f"mount --bind {state} {state}; mount -o remount,ro,bind {state}")
    outcome = await run(
        "gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--devices", tmp_path / "kept-devices",
        "--key-file", key_file, "--state", state, "--uuid", UUID, within=within,
    )  # fmt: skip
    outcome.must_exit(1, 3).must_say("read-only file system", str(state), "--state")
    assert store.read_bytes() == before
    assert await brightness(keeps()) == STORED


async def test_a_full_disk_is_told_to_whoever_writes_and_is_got_over(keeps, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    gateway = keeps(state=disk / "state", within=system.own_mounts(f"mount -t tmpfs -o size=1m tmpfs {disk}"))
    assert (await write(gateway, STORED))["success"]
    filler = system.as_seen_by(gateway.process.process.pid, disk / "filler")
    fill(filler)
    writer = await lean.connect(gateway)
    for value in range(20, 1000):
        response = await writer.set(LAMP, bright_value=value)
        if not response["success"]:
            break
    assert response["error"]["code"] == "internal", response
    assert LAMP in response["error"]["message"] and "will not outlive" in response["error"]["message"], response
    # It goes on serving, and says it once.
    assert await brightness(gateway) == value
    assert not (await writer.set(LAMP, bright_value=value))["success"]
    warned = lambda: gateway.process.log_lines("WARN.*cannot store values in .*disk is full")  # noqa: E731
    await eventually(warned, "a word in the log")
    assert len(warned()) == 1, gateway.process.story()
    filler.unlink()
    await eventually(lambda: gateway.process.log_lines("values are stored again"), "room is noticed", patience=20)
    assert (await writer.set(LAMP, bright_value=777))["success"]
    kept = system.as_seen_by(gateway.process.process.pid, disk / "state" / UUID)
    for path in kept.iterdir():
        (tmp_path / "state" / UUID).mkdir(parents=True, exist_ok=True)
        (tmp_path / "state" / UUID / path.name).write_bytes(path.read_bytes())
    gateway.process.kill()
    gateway = keeps()
    assert not gateway.process.log_lines("WARN"), gateway.process.story()
    assert await brightness(gateway) == 777


async def test_a_disk_that_is_full_at_the_start_is_said(run, tmp_path, key_file):
    disk = tmp_path / "disk"
    disk.mkdir()
    folder = write_profiles(tmp_path / "kept-devices", profiles.home())
    within = system.own_mounts(f"mount -t tmpfs -o size=64k tmpfs {disk}; head -c 60k /dev/zero >{disk}/filler")
    outcome = await run(
        "gateway", "--listen", "127.0.0.1:0", "--no-advertise", "--devices", folder,
        "--key-file", key_file, "--state", disk / "state", "--uuid", UUID, within=within,
    )  # fmt: skip
    assert outcome.code not in (0, 101) and outcome.code > 0, outcome
    outcome.must_say("disk", "full", "--state")


async def test_known_gateways_that_do_not_fit_are_left_as_they_were(hearthgate, environment, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    script = """
        "$1" gateways add home --uuid home <"$2/key"
        cp "$3" "$2/before"
        head -c 1m /dev/zero >"$XDG_CONFIG_HOME/filler" 2>/dev/null || true
        "$1" gateways add other --uuid other --grace 7s <"$2/key" && exit 9
        cp "$3" "$2/after"
        rm "$XDG_CONFIG_HOME/filler"
        "$1" gateways rename home "our home"
        "$1" gateways list
    """
    (tmp_path / "key").write_text("key of no gateway"[:16])
    within = system.own_mounts(f"mount -t tmpfs -o size=64k tmpfs {disk}")
    arguments = ("sh", "-ec", script, "sh", hearthgate, str(tmp_path), str(disk / "hearthgate" / "gateways.toml"))
    outcome = await program.run([*within, *arguments], environment | {"XDG_CONFIG_HOME": str(disk)})
    outcome.must_exit(0).must_say("cannot write", "gateways.toml", "space")
    assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
    assert "our home" in outcome.out


def fill(path):
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
