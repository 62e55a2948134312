"""Fixtures: a gateway of the program, its commands, and tests that are coroutines."""

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import lan, program, system
from harness.files import KEY_TEXT, write_key, write_profiles
from harness.lan import WifiDevice
from harness.program import Outcome, Running, RunningGateway
from reference import crypto, profiles, wire
from reference.crypto import Options
from reference.profiles import Profile

def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `options` runs in all three wire encodings."""
    if "options" in metafunc.fixturenames:
        metafunc.parametrize("options", [Options(wire=name) for name in wire.WIRES], ids=wire.WIRES)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    marker = pyfuncitem.get_closest_marker("deadline")
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(within(marker.args[0] if marker else 60, pyfuncitem.obj(**arguments)))
    return True


async def within(seconds: float, test: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "setup":
        return report
    if report.failed:
        for running in Running.everything:
            report.sections.append(("a process of this test", running.story()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    Running.everything.clear()
    return (yield)


@pytest.fixture(scope="session")
def hearthgate() -> str:
    """The program under test."""
    return str(program.binary())


@pytest.fixture
def key() -> bytes:
    return crypto.parse_key(KEY_TEXT)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return program.clean_environment(tmp_path / "home")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write_key(tmp_path / "device.key", KEY_TEXT)


@pytest.fixture
def spawn(hearthgate: str, environment: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Starts the program in the background, and ends it with the test. `within` is a command that starts it."""
    started: list[Running] = []

    def start(*arguments: str | Path, stdin: bytes | None = None, within: Sequence[str] = (), **more: str) -> Running:
        argv = [*within, hearthgate, *map(str, arguments)]
        started.append(Running(argv, environment | more, stdin=stdin))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def start_gateway(
    spawn: Callable[..., Running], key_file: Path, tmp_path: Path
) -> Callable[..., RunningGateway]:
    """Starts a gateway with these devices (all of the reference's own unless told) and waits until it listens."""
    folder = tmp_path / "devices"

    def start(
        devices: list[Profile] | Path | None = None, options: Options = Options(), *flags: str,
        also: tuple[Path, ...] = (), key_text: str = KEY_TEXT, state: str | Path = "none", advertise: tuple[str, ...] = ("--no-advertise",),
        listen: str = "127.0.0.1:0", within: Sequence[str] = (), patience: float = program.START,
    ) -> RunningGateway:  # fmt: skip
        if isinstance(devices, Path):
            served = devices
        else:
            served = folder
            write_profiles(folder, profiles.home() if devices is None else devices)
        process = spawn(
            "gateway", "--listen", listen, "--devices", served, *also,
            "--key-file", write_key(key_file, key_text), "--state", state, *advertise, *program.variant_flags(options), *flags,
            within=within,
        )  # fmt: skip
        found = process.wait_for_log(program.LISTENS, patience)
        older = "2023" in flags
        key = bytes(16) if older else crypto.parse_key(key_text, options.key_form)
        return RunningGateway(process, found[1], int(found[2]), key, options, served, "wss://" in found[0])

    return start


@pytest.fixture
def gateway(start_gateway: Callable[..., RunningGateway]) -> RunningGateway:
    """A gateway with the reference's own devices and the default wire encoding."""
    return start_gateway()


@pytest.fixture
def run(hearthgate: str, environment: dict[str, str]) -> Callable[..., Awaitable[Outcome]]:
    """Runs the program to its end."""

    async def start(
        *arguments: str | Path, stdin: bytes = b"", patience: float = 30, within: Sequence[str] = (), **more: str
    ) -> Outcome:
        argv = [*within, hearthgate, *map(str, arguments)]
        return await program.run(argv, environment | more, stdin=stdin, patience=patience)

    return start


@pytest.fixture
def command(run: Callable[..., Awaitable[Outcome]], key_file: Path) -> Callable[..., Awaitable[Outcome]]:
    """Runs one of the client's commands against a gateway: `command(url, "set", "0a11", "switch_1=on")`."""

    async def start(url: str, name: str, *arguments: str, key: str | None = KEY_TEXT, **more: Any) -> Outcome:
        keyed = ["--key-file", str(key_file)] if key is not None else []
        if key is not None:
            write_key(key_file, key)
        timeout = [] if "--timeout" in arguments else ["--timeout", "5s"]
        return await run(name, *arguments, "--gateway", url, *keyed, *timeout, **more)

    return start


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that can be had again."""
    return system.seeded(request)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells a figure, which is shown at the end of the run whatever the outcome."""

    def tell(text: str) -> None:
        request.node.user_properties.append(("measured", text))
        print(text)

    return tell


@pytest.fixture
def device() -> Iterator[Callable[..., WifiDevice]]:
    """Starts Wi-Fi devices, and ends them with the test."""
    lan.quiet()
    started: list[WifiDevice] = []

    def start(*arguments: Any, kind: type[WifiDevice] = WifiDevice, **more: Any) -> WifiDevice:
        started.append(kind(*arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def serve_lan(spawn: Callable[..., Running], key_file: Path, tmp_path: Path) -> Callable[..., RunningGateway]:
    """Starts a gateway that serves a list of Wi-Fi devices, made of these parts, and what else it is given."""

    def start(*parts: str, more: tuple[str | Path, ...] = ()) -> RunningGateway:
        listed = lan.write_list(tmp_path / "lan.toml", *parts)
        process = spawn(
            "gateway", "--listen", "127.0.0.1:0", "--tuya-lan", listed, "--key-file", write_key(key_file, KEY_TEXT), "--state", "none",
            "--no-advertise", *more,
        )  # fmt: skip
        found = process.wait_for_log(program.LISTENS)
        return RunningGateway(process, found[1], int(found[2]), crypto.parse_key(KEY_TEXT), Options(), listed)

    return start


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = [
        f"{report.nodeid.split('::')[-1]}: {text}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == "measured"
    ]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)
