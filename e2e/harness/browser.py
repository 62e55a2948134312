"""A real browser, Debian's Chromium, for the tests of the page; screenshots are kept under target/screenshots."""

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from harness.program import ROOT

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 20_000
SCREENSHOTS = ROOT / "target" / "screenshots"
TOOLS = ROOT / "target" / "e2e-tools"
AXE = "4.14.1"
SERIOUS = {"serious", "critical"}
expect.set_options(timeout=PATIENCE)


@contextmanager
def alone() -> Iterator[None]:
    """One installation at a time: the tests run in several processes."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def chromium() -> str:
    """Debian's Chromium; installed where it is not there."""
    return program_of("chromium", "chromium")


def program_of(name: str, package: str) -> str:
    """A program of a Debian package; installed where it is not there."""
    with alone():
        if shutil.which(name) is None:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            install = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "-qq", "--no-install-recommends", package]
            subprocess.run(install, check=True)
        found = shutil.which(name)
    assert found, f"{package} is installed and there is no {name}"
    return found


def axe_source() -> str:
    """The accessibility checker, from npm."""
    source = TOOLS / "node_modules" / "axe-core" / "axe.min.js"
    with alone():
        if not source.is_file():
            install = ["npm", "install", "--prefix", str(TOOLS), "--no-audit", "--no-fund", "--silent", f"axe-core@{AXE}"]
            subprocess.run(install, check=True)
        return source.read_text(encoding="utf-8")


@contextmanager
def open_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """A page in a context of its own, whose complaints fail the test."""

    def __init__(self, browser: Browser, url: str, *, width: int = 1280, height: int = 900, scheme: str = "light", **more: Any):
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.url = url.rstrip("/")
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", self._said)

    def _said(self, message: Any) -> None:
        # That the hub is away is a part of some tests; a browser says so for each request.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        self.live()
        return self.page

    def live(self) -> None:
        self.page.wait_for_selector("#pill[data-state=live]")

    def card(self, name: str) -> Any:
        exact = re.compile(f"^{re.escape(name)}$")
        return self.page.locator("article.card").filter(has=self.page.get_by_role("link", name=exact))

    def shoot(self, name: str, **more: Any) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=str(path), **more)
        return path

    def serious_barriers(self) -> list[str]:
        """What an accessibility checker finds that keeps people out."""
        self.page.evaluate(axe_source())
        found = self.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
            for one in found["violations"] if one["impact"] in SERIOUS
        ]  # fmt: skip

    def close(self) -> None:
        self.context.close()
        assert not self.complaints, self.complaints
