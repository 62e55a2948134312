"""`hearthgate hub` with something wrong on its command line: it says what, and what to do."""

import pytest

from harness.files import KEY_TEXT, WRONG_KEY_TEXT, write_key, write_profiles
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles


async def test_no_outlet(run, know, start_gateway):
    know(start_gateway())
    (await run("hub", "--no-web")).must_exit(2).must_say("no outlet", "--mqtt")


async def test_no_gateway(run):
    (await run("hub", "--no-web", "--mqtt", "mqtt://127.0.0.1")).must_exit(2).must_say("no gateway", "--gateway", "hearthgate discover")


async def test_a_gateway_that_nobody_knows(run, know, start_gateway):
    know(start_gateway())
    outcome = await run("hub", "--no-web", "--gateway", "attic", "--mqtt", "mqtt://127.0.0.1")
    outcome.must_exit(2).must_say("attic", "hearthgate gateways")


@pytest.mark.parametrize("url", ["http://h", "h", "mqtt://", "mqtt://u:geheim@h:port", "mqtt://u:geheim@h/x/y", "mqtt://h:0"])
async def test_an_address_that_is_none(run, know, start_gateway, url):
    know(start_gateway())
    outcome = await run("hub", "--no-web", "--mqtt", url)
    outcome.must_exit(2).must_say("mqtt://HOST")
    assert "geheim" not in outcome.err + outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mqtt-version", "4"), ("5", "3.1.1")),
        (("--mqtt-qos", "2"), ("0", "1")),
        (("--topic-root", "a/#"), ("topic root",)),
        (("--topic-root", "homeassistant"), ("topic root", "differ")),
        (("--discovery-prefix", "/x"), ("discovery prefix",)),
        (("--client-id", ""), ("client id",)),
        (("--mqtt-password-file", "/nowhere"), ("/nowhere", "password")),
        (("--mqtt-ca-file", "/nowhere"), ("mqtts://",)),
        (("--mqtt-cert-file", "/nowhere"), ("--mqtt-cert-key-file",)),
        (("--key-file", "/nowhere"), ("--gateway",)),
        (("--config", "/nowhere"), ("/nowhere",)),
        (("--overrides", "/nowhere"), ("/nowhere",)),
    ],
    ids=lambda value: "-".join(value)[:40].replace("/", "_"),
)
async def test_a_wrong_choice(run, know, start_gateway, arguments, words):
    know(start_gateway())
    outcome = await run("hub", "--no-web", "--mqtt", "mqtt://u@127.0.0.1", *arguments)
    outcome.must_exit(2).must_say(*words)


async def test_a_wrong_line_of_the_configuration_is_named_without_its_secret(run, tmp_path):
    config = tmp_path / "hub.toml"
    config.write_text('[mqtt]\nurl = "mqtt://u:geheim@127.0.0.1"\nurll = "mqtt://u:geheim@h"\n')
    outcome = await run("hub", "--no-web", "--config", config)
    outcome.must_exit(2).must_say("hub.toml", "line 3", "urll")
    assert "geheim" not in outcome.err


async def test_a_configuration_is_checked_without_a_broker(run, know, start_gateway):
    know(start_gateway())
    outcome = await run("hub", "--no-web", "--mqtt", "mqtts://hub@192.0.2.1", "--mqtt-ca-file", "/nowhere", "--check-config")
    outcome.must_exit(2).must_say("/nowhere")
    outcome = await run("hub", "--no-web", "--mqtt", "mqtt://192.0.2.1", "--check-config")
    outcome.must_exit(0)
    assert "right" in outcome.out and "1 gateway" in outcome.out


async def test_a_key_file_belongs_to_the_gateway_before_it(broker, listener, start_gateway, start_hub, tmp_path, run):
    """Two gateways by their addresses, each with a key of its own: both come up, and none where the files are exchanged."""
    first = start_gateway(key_text=KEY_TEXT)
    other = start_gateway(write_profiles(tmp_path / "more", profiles.many_sockets(2)), key_text=WRONG_KEY_TEXT)
    keys = write_key(tmp_path / "a.key", KEY_TEXT), write_key(tmp_path / "b.key", WRONG_KEY_TEXT)
    start_hub(broker, "--gateway", first.url, "--key-file", keys[0], "--gateway", other.url, "--key-file", keys[1])
    up = lambda: [name for name in list(listener.now) if name.count("/") == 2 and name.endswith("/availability") and listener.text(name) == "online"]  # noqa: E731
    await eventually(lambda: len(up()) == 2, "both gateways", 30)
    outcome = await run("hub", "--no-web", "--mqtt", broker.url, "--key-file", keys[0], "--gateway", first.url)
    outcome.must_exit(2).must_say("--key-file", "before any --gateway")
    outcome = await run("hub", "--no-web", "--mqtt", broker.url, "--gateway", first.url)
    outcome.must_exit(2).must_say("key", "--key-file")
