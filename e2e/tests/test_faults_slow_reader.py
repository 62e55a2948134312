"""A session that stops reading harms nobody: others get every event in order and in time, memory stays bounded, and it
is told at last (section 6). Spoken in `plain`, as the volume is the point here and not the cipher.
"""

import asyncio
import re
import statistics
import time
from dataclasses import dataclass, field

import pytest

from harness import lean
from harness.program import eventually
from reference.crypto import Options
from reference.profiles import point, profile

OTHERS = 100
MEGABYTE = 1024 * 1024
SIZE = 128 * 1024  # of an event
ROUNDS = 4
FREE_ROUND, STUCK_ROUND = 4 * MEGABYTE, 16 * MEGABYTE
# Events on their way at most, so that nobody falls behind but who is stuck.
WINDOW = 4
# By design 1 MiB of merged events and what is encrypted for one write, the log of 8 MiB being full before; the rest is for allocators.
MEMORY = 32 * MEGABYTE
TOO_SLOW = 1013
BOARD = profile(
    "b0board00001", "dj", "Board", function=[point("text", "String", maxlen=SIZE + 64)],
    status=[point("text", "String", maxlen=SIZE + 64)], text="",
)  # fmt: skip
EVENT = re.compile(rb'^\{"id":(\d+),"type":"event","event_type":"state_changed".*?"v":"([0-9.]+) ')


@dataclass
class Taken:
    """What came to one client."""

    ids: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def take(self, _, text):
        found = EVENT.match(text)
        assert found, text[:200]
        self.ids.append(int(found[1]))
        self.delays.append(time.monotonic() - float(found[2]))


@dataclass
class Crowd:
    """A gateway, one who writes, and those who read."""

    writer: lean.Lean
    readers: list[Taken]
    written: int = 0

    async def write(self, volume):
        """Writes so many bytes, as fast as all readers take them; gives the 99th percentile of the delays."""
        before = [len(reader.delays) for reader in self.readers]
        answers = []
        for _ in range(volume // SIZE):
            value = f"{time.monotonic():.6f} " + "x" * SIZE
            answers.append(asyncio.create_task(self.writer.set(BOARD["devid"], text=value)))
            self.written += 1
            await self.taken_by_all(self.written - WINDOW)
        await self.taken_by_all(self.written)
        assert all([(await answer)["success"] for answer in answers])
        delays = [d for reader, count in zip(self.readers, before, strict=True) for d in reader.delays[count:]]
        return statistics.quantiles(delays, n=100)[98]

    async def taken_by_all(self, count):
        end = time.monotonic() + 60
        while min(len(reader.ids) for reader in self.readers) < count:
            assert time.monotonic() < end, "somebody does not get the events"
            await asyncio.sleep(0.0005)


@pytest.fixture
def board(start_gateway):
    return start_gateway([BOARD], Options(wire="plain"))


async def crowd_of(gateway, count):
    readers = [Taken() for _ in range(count)]
    for reader in readers:
        await lean.connect(gateway, reader.take, keep=160)
    return Crowd(await lean.connect(gateway), readers)


async def stuck_client(gateway):
    taken = Taken()
    client = await lean.connect(gateway, taken.take, keep=160)
    client.transport.pause_reading()
    return client, taken


async def reads_on(client, taken, last_id):
    """Reads on until told that it was too slow, or until it is up to date: gives how it went."""
    client.transport.resume_reading()
    await eventually(lambda: client.closed.done() or taken.ids[-1:] == [last_id], "the end of what waited", patience=60)
    assert taken.ids == sorted(set(taken.ids))
    if client.closed.done():
        assert client.close_code == TOO_SLOW, (client.close_code, client.close_reason)
        return "closed"
    assert max(b - a for a, b in zip(taken.ids, taken.ids[1:])) > 1, "what was merged is a gap in the ids"
    return "resumed"


@pytest.mark.deadline(240)
async def test_one_that_stops_reading_harms_none_of_a_hundred_others(board, measured):
    crowd = await crowd_of(board, OTHERS)
    await crowd.write(2 * FREE_ROUND)  # the log is full from here on
    before = board.process.memory("VmHWM")
    free, stuck, outcomes = [], [], []
    for _ in range(ROUNDS):
        free.append(await crowd.write(FREE_ROUND))
        client, taken = await stuck_client(board)
        stuck.append(await crowd.write(STUCK_ROUND))
        outcomes.append(await reads_on(client, taken, crowd.readers[0].ids[-1]))
        assert client.taken < STUCK_ROUND
        client.hang_up()
    growth = board.process.memory("VmHWM") - before
    for reader in crowd.readers:
        assert reader.ids == list(range(reader.ids[0], reader.ids[0] + crowd.written)), "every event, in order, without a gap"
    p99_free, p99_stuck = statistics.median(free), statistics.median(stuck)
    measured(
        f"p99 of {OTHERS} others {p99_stuck * 1000:.0f} ms with a stuck session ({', '.join(outcomes)}), {p99_free * 1000:.0f} ms without; "
        f"memory grew by {growth / MEGABYTE:.1f} MiB while {ROUNDS * STUCK_ROUND // MEGABYTE} MiB piled up"
    )
    assert growth < MEMORY
    # Whoever waits for a stuck socket waits for seconds; a busy machine may take one.
    assert p99_stuck < 3 * p99_free + 1.0


@pytest.mark.deadline(120)
async def test_sixty_four_megabytes_pile_up_for_one_session(board, measured):
    """One of two stuck sessions reads on at last, the other never does."""
    crowd = await crowd_of(board, 2)
    await crowd.write(2 * FREE_ROUND)
    client, taken = await stuck_client(board)
    never, taken_never = await stuck_client(board)
    before, begin = board.process.memory("VmHWM"), time.monotonic()
    await crowd.write(64 * MEGABYTE)
    seconds = time.monotonic() - begin
    growth = board.process.memory("VmHWM") - before
    outcome = await reads_on(client, taken, crowd.readers[0].ids[-1])
    measured(f"64 MiB in {seconds:.1f} s, then {outcome} after {client.taken / MEGABYTE:.1f} MiB; memory grew by {growth / MEGABYTE:.1f} MiB")
    assert growth < MEMORY
    assert client.taken < 16 * MEGABYTE, "what the system's buffers held, and the newest values"
    assert outcome == "resumed" or seconds > 9, "closed before its time"
    client.hang_up()
    await eventually(lambda: board.process.log_lines("does not read fast enough"), "the session is given up", patience=30)
    assert await reads_on(never, taken_never, None) == "closed"
    assert never.close_reason == "too slow"
    await crowd.write(FREE_ROUND)
