"""Both ends of the program with each other, and the demonstration as a newcomer sees it."""

import asyncio
import json
import re

import pytest

from harness.program import eventually
from reference import profiles

SOCKET, THERMOSTAT = "0a11socket02", "7c20thermo03"


async def test_a_write_of_one_command_is_an_event_of_another(start_gateway, command, spawn, key_file, options):
    gateway = start_gateway(options=options)
    watching = spawn("watch", "--json", "--gateway", gateway.url, "--key-file", key_file)
    async with gateway.connect() as witness:  # a session that opens after it counts the same events
        assert len((await command(gateway.url, "devices", "--json")).must_exit(0).json()) == len(profiles.ALL)

        async def seen():
            """Writes until the watching one is there to see it."""
            while not watching.output:
                (await command(gateway.url, "set", SOCKET, "switch_1=on")).must_exit(0)
            return json.loads(watching.output[0])

        event = await seen()
        assert event["data"] == {"devid": SOCKET, "value": [{"k": "switch_1", "v": True}]}
        assert await witness.event("state_changed", SOCKET)
        (await command(gateway.url, "set", THERMOSTAT, "temp_set=21.5")).must_exit(0)
        status = (await command(gateway.url, "status", THERMOSTAT, "--json")).must_exit(0).json()
        assert profiles.values_of(status[0])["temp_set"] == 215


async def test_a_name_from_the_profiles_will_do(start_gateway, command):
    gateway = start_gateway()
    (await command(gateway.url, "set", "kettle", "switch_1=on", "--names", gateway.folder)).must_exit(0)
    table = (await command(gateway.url, "devices", "--names", gateway.folder)).must_exit(0).out
    assert "Kettle" in table


@pytest.mark.deadline(90)
async def test_the_demonstration_prints_commands_that_work_as_printed(spawn, environment):
    demo = spawn("demo", "--duration", "60s", "--seed", "11")
    await eventually(lambda: sum(line.startswith("$ ") for line in demo.output) >= 2, "the commands", patience=20)
    commands = [line.removeprefix("$ ") for line in demo.output if line.startswith("$ ")]
    assert all("HEARTHGATE_KEY=" in command for command in commands)
    for command in commands:
        if " watch " in command:
            command = f"timeout -s INT 20 sh -c '{command} | head -n 1'"
        process = await asyncio.create_subprocess_shell(
            command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0 and out, (command, out, err)
    first_events = len(demo.output)
    await eventually(lambda: len(demo.output) > first_events, "the home to live on")
    demo.process.terminate()
    assert await asyncio.to_thread(demo.wait, 5) == 0


async def test_the_demonstration_ends_by_itself_and_is_repeatable(run):
    first, second = await asyncio.gather(
        run("demo", "--duration", "3s", "--seed", "5", patience=20), run("demo", "--duration", "3s", "--seed", "5", patience=20)
    )
    lives = []
    for outcome in (first, second):
        events = [line for line in outcome.must_exit(0).out.splitlines() if re.match(r"\d\d:\d\d ", line)]
        lives.append([line.split(" ", 1)[1] for line in events])
    both = min(map(len, lives))
    assert both > 3
    # The moment of the end is the machine's, what happens until then is the seed's.
    assert lives[0][: both - 2] == lives[1][: both - 2]
    home = (await run("demo", "--duration", "200ms", patience=20)).must_exit(0).out
    assert "ws://127.0.0.1:" in home
