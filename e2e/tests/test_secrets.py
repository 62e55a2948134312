"""No key and no session key in anything that the program says or writes: logs at their loudest, answers, errors, bundles,
recordings, state. What holds a key on purpose is named in `KEPT`.
"""

import asyncio
import base64
import hashlib
import re
import signal
import socket

import pytest

from harness.files import WRONG_KEY_TEXT, write_key, write_profiles
from harness.program import LISTENS, Outcome, Running, eventually, variant_flags
from harness.system import free_port
from reference import client, crypto, profiles
from reference.crypto import Options

LAMP = "0a11lamp0001"
UUID = "secrets-test"
KEYS = {
    "characters": ("k9Xq2m z7L~T4vRb", Options()),
    "hexadecimal digits": ("00c1e2f3a4b5968778695a4b3c2d1eef", Options(key_form="hex", padding="zero", proof_over="base64")),
    "the MD5 of the text": ("q7W-e8R_t9Y+u0I=", Options(key_form="md5", wire="base64")),
}
# Files that hold keys on purpose, all of them for their owner alone.
KEPT = {"gateways.toml", "gateways.toml.bak", "key", "device.key", "wrong.key", "two lines.key", "with-keys.toml", "broken.toml"}


def forms(text, form):
    """Every way in which a key might be written down, by name."""
    found = {"the text": text.encode()}
    for name, key in {"the bytes": crypto.parse_key(text, form), "the text's bytes": text.encode(), "its MD5": hashlib.md5(text.encode()).digest()}.items():
        found |= {
            f"{name}": key,
            f"{name} in hexadecimal": key.hex().encode(),
            f"{name} in upper hexadecimal": key.hex().upper().encode(),
            f"{name} in spaced hexadecimal": key.hex(" ").encode(),
            f"{name} in base64": base64.b64encode(key).rstrip(b"="),
            f"{name} in base64 for URLs": base64.urlsafe_b64encode(key).rstrip(b"="),
            f"{name} as a list": ", ".join(map(str, key)).encode(),
            f"{name} as a list of JSON": ",".join(map(str, key)).encode(),
            f"{name} as a list in hexadecimal": ", ".join(f"0x{byte:02x}" for byte in key).encode(),
        }
    return found


# Both nonces together are the session key.
NONCE = re.compile(rb'nonce\\*"\s*:\s*\\*"[A-Za-z0-9+/]{22}==')


def search(said, secrets):
    """Names what says a secret, and which; never the secret."""
    found = [f"{name} says {form} of {whose}" for name, content in said.items() for whose, kinds in secrets.items() for form, secret in kinds.items() if secret in content]
    found += [f"{name} says a nonce" for name, content in said.items() if NONCE.search(content)]
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_looks_for():
    for text, options in KEYS.values():
        secrets = {"a key": forms(text, options.key_form)}
        for form, secret in secrets["a key"].items():
            with pytest.raises(AssertionError, match=form):
                search({"a log": b"before" + secret + b"behind"}, secrets)
    for nonce in (b'{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}', rb'"{\"nonce\": \"AAAAAAAAAAAAAAAAAAAAAA==\"}"'):
        with pytest.raises(AssertionError, match="nonce"):
            search({"a log": nonce}, {})


class Scenario:
    """Runs commands and keeps all that they said."""

    def __init__(self, run, spawn, folder, log_format):
        self.loud = ("--log-level", "trace", "--log-format", log_format)
        self.runs, self.spawns, self.folder = run, spawn, folder
        self.surroundings = {"HOME": str(folder / "home"), "XDG_STATE_HOME": str(folder / "home" / "state"), "RUST_BACKTRACE": "full"}
        self.outcomes: list[tuple[str, Outcome]] = []
        self.processes: list[Running] = []

    async def run(self, *arguments, codes=(0,), **more):
        outcome = await self.runs(*self.loud, *arguments, patience=120, **self.surroundings, **more)
        self.outcomes.append((f"`{' '.join(map(str, arguments[:3]))}` ({len(self.outcomes)})", outcome))
        return outcome.must_exit(*codes)

    def start(self, *arguments, **more):
        self.processes.append(self.spawns(*self.loud, *arguments, **self.surroundings, **more))
        return self.processes[-1]

    def said(self):
        everything = {}
        for name, outcome in self.outcomes:
            everything |= {f"the output of {name}": outcome.out.encode(), f"the log of {name}": outcome.err.encode()}
        for number, process in enumerate(self.processes):
            name = f"`{process.argv[5]}` in the background ({number})"
            everything |= {f"the output of {name}": "\n".join(process.output).encode(), f"the log of {name}": process.log_text.encode()}
        return everything


@pytest.mark.deadline(200)
async def test_a_whole_scenario_says_no_key(run, spawn, tmp_path):
    """For each form of a key, at the same time."""
    folders = [tmp_path / f"{number}" for number in range(len(KEYS))]
    for folder in folders:
        folder.mkdir()
    await asyncio.gather(*[scenario(run, spawn, folder, *key) for folder, key in zip(folders, KEYS.values(), strict=True)])


async def scenario(run, spawn, tmp_path, text, options):
    play, key = Scenario(run, spawn, tmp_path, "text" if options.key_form == "hex" else "json"), write_key(tmp_path / "device.key", text)
    wrong = write_key(tmp_path / "wrong.key", WRONG_KEY_TEXT if options.key_form != "hex" else WRONG_KEY_TEXT.encode().hex())
    devices, state, port = write_profiles(tmp_path / "devices", profiles.home()), tmp_path / "state", free_port(socket.SOCK_DGRAM)
    other_port = free_port(socket.SOCK_DGRAM)
    flags = variant_flags(options)
    advertise = ("--advertise", f"127.0.0.1:{port}", "--advertise", f"127.0.0.1:{other_port}")
    serving = ("gateway", "--listen", "127.0.0.1:0", "--devices", devices, "--state", state, *advertise)

    # Two gateways: one with a given key, one that makes its own.
    gateway = play.start(*serving, "--uuid", UUID, "--key-file", key, *flags)
    own = play.start(*serving, *flags)
    url = "ws://{}:{}".format(*await asyncio.to_thread(lambda: gateway.wait_for_log(LISTENS).groups()))
    await asyncio.to_thread(own.wait_for_log, LISTENS)
    (own_key,) = [path for path in state.glob("*/key") if path.is_file()]

    # What is known of them.
    await play.run("gateways", "add", "home", "--uuid", UUID, *flags, stdin=text.encode())
    await play.run("gateways", "add", "other", "--uuid", "other-uuid", "--key-file", key, *flags)
    for more in (["list"], ["list", "--json"], ["export"], ["rename", "other", "third"], ["remove", "third"]):
        await play.run("gateways", *more)
    exported = await run("gateways", "export", "--with-keys", **play.surroundings)
    assert text in exported.must_exit(0).out
    (tmp_path / "with-keys.toml").write_text(exported.out)
    await play.run("gateways", "import", tmp_path / "with-keys.toml")

    # Commands of a third party, by name and by address, with the right key and with a wrong one.
    listen = ("--listen", f"127.0.0.1:{port}")
    right, false = ("--gateway", url, "--key-file", key, *flags), ("--gateway", url, "--key-file", wrong, *flags)
    await play.run("discover", *listen, "--timeout", "15s", "--json")
    watch = play.start("watch", "--json", "--gateway", "home", "--listen", f"127.0.0.1:{other_port}")
    people = play.start("watch", *right)
    for name in ("devices", "schema", "status"):
        await play.run(name, *right)
        await play.run(name, *false, codes=(4,))
    await play.run("status", "--json", "--gateway", "home", *listen)
    for _ in range(100):
        await play.run("set", LAMP, "bright_value=77", *right)
        if watch.output and people.output:
            break
    assert watch.output and people.output
    await play.run("set", LAMP, "bright_value=5000", *right, codes=(1, 2))
    await play.run("doctor", "--json", *right, "--event-timeout", "1s", "--bundle", tmp_path / "well.json")
    await play.run("doctor", *right, "--event-timeout", "1s", "--conformance", "--write", LAMP, "--bundle", tmp_path / "conformance.json")
    await play.run("doctor", *false, "--event-timeout", "1s", "--bundle", tmp_path / "wrong.json", codes=(1,))
    exploring = ("--gateway", url, "--timeout", "2s")
    await play.run("doctor", *exploring, "--key-file", key, "--explore", "--bundle", tmp_path / "explore.json", codes=(0, 1))
    await play.run("record", *right, "--duration", "1s", "--out", tmp_path / "recording")
    await play.run("config", "example")
    await play.run("completions", "bash")
    await play.run("gateway", "--help")
    await play.run("gateway", "--check-config", "--devices", devices, "--state", "none", HEARTHGATE_KEY=text, codes=(0, 2))

    # Mistakes with a key in them.
    two = write_key(tmp_path / "two lines.key", f"{text}\n{text}")
    await play.run("devices", "--gateway", url, "--key-file", two, codes=(2,))
    await play.run("devices", "--gateway", url, HEARTHGATE_KEY=f"{text} ", codes=(2,))
    await play.run("devices", "--gateway", url, "--key-file", "-", stdin=f'"{text}"'.encode(), codes=(2,))
    await play.run("devices", "--gateway", url, "--key-file", text, codes=(2,))
    await play.run("gateway", "--devices", devices, "--state", "none", "--key-file", text, codes=(2,))
    await play.run("gateways", "add", "mistake", "--uuid", "mistake", stdin=f"key: {text}".encode(), codes=(2,))
    await play.run("gateways", "add", "mistake", "--uuid", "mistake", "--key-file", text, codes=(2,))
    for broken in (f'[[gateway]]\nuuid = "x"\nname = "x"\nkey = "{text}\n', f'[[gateway]]\nuuid = "x"\nname = "x"\nkey = ["{text}"]\n', f'[[gateway]]\nuuid = "x"\nname = "x"\nkey_file = "{text}"\n', f'[[gateway]]\nuuid = "x"\nname = "x"\n{text}\n'):
        (tmp_path / "broken.toml").write_text(broken)
        await play.run("gateways", "import", tmp_path / "broken.toml", codes=(0, 2))

    # Peers that break the rules, and ends of all kinds.
    async with client.dial(url, options) as link:
        await link.send_frame(b"no handshake")
        await link.closed()
    people.signal(signal.SIGINT)
    gateway.signal(signal.SIGABRT)
    await asyncio.to_thread(gateway.wait, 20)
    await eventually(lambda: any('"down"' in line for line in watch.output), "the end is noticed", patience=20)
    again = play.start(*serving, "--uuid", UUID, "--key-file", key, *flags)
    await asyncio.to_thread(again.wait_for_log, LISTENS)
    await eventually(lambda: any('"up"' in line for line in watch.output), "the watch goes on", patience=45)
    for process in play.processes:
        process.stop()

    secrets = {"the key": forms(text, options.key_form), "the wrong key": forms(wrong.read_text().strip("\n"), options.key_form),
               "the key that was made": forms(own_key.read_text().strip("\n"), options.key_form)}  # fmt: skip
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        assert path.name not in KEPT or path.name in ("with-keys.toml", "broken.toml") or path.stat().st_mode & 0o077 == 0, path
    assert {"values.db", "well.json", "explore.json", "gateway-uuid"} <= {path.name for path in files}
    said = play.said() | {str(path.relative_to(tmp_path)): path.read_bytes() for path in files if path.name not in KEPT}
    assert sum(len(content) for content in said.values()) > 100_000, "the logs are loud"
    search(said, secrets)
