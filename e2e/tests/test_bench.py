"""`hearthgate bench`: the load that it makes against a gateway of ours and against the second implementation, and how it refuses."""

import pytest

from harness.files import WRONG_KEY_TEXT
from reference.gateway import Gateway

SOCKET = "0a11socket02"
SHORT = ("--duration", "200ms")


def in_order(times):
    """Percentiles go up, and the histogram has everything that was counted."""
    figures = [times[name] for name in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
    assert figures == sorted(figures) and figures[0] > 0, times
    assert sum(step["count"] for step in times["histogram"]) == times["count"] > 0, times


async def test_a_gateway_is_loaded_and_every_event_reaches_every_session(gateway, command):
    outcome = await command(
        gateway.url, "bench", "gateway", "--json", *SHORT, "--clients", "5", "--sessions", "20", "--outstanding", "8", "--write", SOCKET
    )
    report = outcome.must_exit(0).json()
    assert report["gateway"] == gateway.url and report["devices"] > 1
    for name in ("handshakes", "requests", "one_client", "fan_out", "one_event"):
        in_order(report[name]["times"])
    assert report["handshakes"]["count"] == report["handshakes"]["times"]["count"]
    assert (report["requests"]["clients"], report["one_client"]["clients"]) == (5, 1)
    fan_out = report["fan_out"]
    assert (fan_out["sessions"], fan_out["gaps"], fan_out["other_events"]) == (20, 0, 0)
    assert fan_out["times"]["count"] == fan_out["writes"] > 0
    # Deliveries are those of all sessions together.
    expected = fan_out["writes"] * 20 / fan_out["seconds"]
    assert fan_out["deliveries_per_second"] == pytest.approx(expected, rel=0.01)


async def test_without_write_nothing_is_written(gateway, command):
    async with gateway.connect() as witness:
        report = (await command(gateway.url, "bench", "gateway", "--json", *SHORT)).must_exit(0).json()
        assert "fan_out" not in report
        (await command(gateway.url, "set", SOCKET, "switch_1=on")).must_exit(0)
        # The first event that this session sees is that of the write after it.
        event = await witness.event("state_changed")
        assert event["data"]["devid"] == SOCKET


async def test_what_is_written_is_what_the_device_has(gateway, command):
    before = (await command(gateway.url, "status", SOCKET, "--json")).must_exit(0).json()
    (await command(gateway.url, "bench", "gateway", *SHORT, "--sessions", "2", "--write", SOCKET)).must_exit(0)
    assert (await command(gateway.url, "status", SOCKET, "--json")).must_exit(0).json() == before


async def test_the_client_and_the_hub_are_measured(gateway, command):
    report = (await command(gateway.url, "bench", "client", "--json", *SHORT, "--mirrors", "3", "--write", SOCKET)).must_exit(0).json()
    assert report["mirror_times"]["count"] == 3 and report["devices"] > 1
    for name in ("mirror_times", "request_times", "write_to_feed"):
        in_order(report[name])
    report = (await command(gateway.url, "bench", "hub", "--json", *SHORT, "--starts", "3", "--write", SOCKET)).must_exit(0).json()
    assert report["start_times"]["count"] == 3 and report["devices"] > 1
    in_order(report["write_to_feed"])


async def test_people_get_a_table_and_histograms(gateway, command):
    out = (await command(gateway.url, "bench", "gateway", *SHORT, "--clients", "2", "--histograms")).must_exit(0).out
    assert "requests, 2 clients" in out and "P99.9" in out and "up to" in out
    assert "\x1b" not in out


async def test_another_gateway_is_loaded_as_well(command, key):
    async with Gateway(key) as gateway:
        report = (await command(gateway.url, "bench", "gateway", "--json", *SHORT, "--clients", "2")).must_exit(0).json()
        assert report["requests"]["count"] > 0


async def test_what_is_wrong_is_said_with_the_exit_code_of_all_commands(gateway, command):
    outcome = await command("ws://192.0.2.1", "bench", "gateway", *SHORT)
    outcome.must_exit(2).must_say("not on this machine", "--allow-remote")
    outcome = await command(gateway.url, "bench", "hub", *SHORT, key=WRONG_KEY_TEXT)
    outcome.must_exit(4).must_say("key")
    outcome = await command(gateway.url, "bench", "gateway", *SHORT, "--write", "nobody")
    outcome.must_exit(2).must_say("nobody")
    outcome = await command(gateway.url, "bench", "gateway", "--duration", "2h")
    outcome.must_exit(2).must_say("at most 1h")
    gateway.process.stop()
    outcome = await command(gateway.url, "bench", "client", *SHORT)
    outcome.must_exit(3).must_say("refused")
