"""The page's API and metrics as programs use them: a schema-driven tester, and Prometheus."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from harness.browser import program_of
from harness.program import Running, clean_environment
from tests.test_web_page import url_of


def fetch(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as response:
        return response.read()


def test_the_api_is_what_its_document_says(spawn, tmp_path):
    demo = spawn("demo", "--web", "127.0.0.1:0", "--seed", "11")
    url = url_of(demo)
    config = tmp_path / "schemathesis.toml"
    config.write_text('[parameters]\n"path.gateway" = "hearthgate-demo"\n"path.device" = "living-room-thermostat"\n')
    command = [
        str(Path(sys.executable).parent / "st"), "--config-file", str(config), "run", f"{url}/api/v1/openapi.json",
        "--checks", "all",
        # A stream that has no end, and a look at a gateway that takes its time.
        "--exclude-path", "/api/v1/events", "--exclude-path", "/api/v1/gateways/{gateway}/doctor",
        # What a schema cannot say (a uuid that is known, a name that is free) is refused with 4xx.
        "--exclude-checks", "positive_data_acceptance",
        "--max-examples", "25", "--seed", "7", "--workers", "1", "--request-timeout", "20", "--no-color",
    ]  # fmt: skip
    environment = clean_environment(tmp_path)
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}\n{demo.story()[-2000:]}"


@pytest.fixture
def prometheus(tmp_path):
    started: list[Running] = []
    # Before the test starts what is to be scraped: it may have to be installed.
    prometheus = program_of("prometheus", "prometheus")

    def start(target: str) -> str:
        config = tmp_path / "prometheus.yml"
        scrape = {"job_name": "hearthgate", "static_configs": [{"targets": [target]}]}
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
        argv = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}", "--web.listen-address=127.0.0.1:0"]
        started.append(Running(argv, clean_environment(tmp_path)))
        port = started[-1].wait_for_log(re.compile(r'Listening on.*?127\.0\.0\.1:(\d+)'), patience=60)[1]
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.stop()


def test_prometheus_scrapes_it(spawn, prometheus):
    url = url_of(spawn("demo", "--web", "127.0.0.1:0", "--seed", "11"))
    server = prometheus(url.removeprefix("http://"))

    def value(query: str) -> float | None:
        answer = json.loads(fetch(f"{server}/api/v1/query?query={urllib.request.quote(query)}"))
        result = answer["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def becomes(query: str, holds) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                got = value(query)
            except OSError:  # it has not begun to answer
                got = None
            if got is not None and holds(got):
                return
            assert time.monotonic() < end, f"{query} is {got}"
            time.sleep(0.2)

    becomes('up{job="hearthgate"}', lambda up: up == 1)
    becomes("hearthgate_gateway_up", lambda up: up == 1)
    becomes("sum(hearthgate_gateway_devices)", lambda devices: devices == 20)
    becomes("sum(hearthgate_events_total)", lambda events: events > 0)
    put = urllib.request.Request(
        f"{url}/api/v1/devices/hearthgate-demo/kitchen-light/values", data=b'{"switch_1": true}',
        headers={"Content-Type": "application/json"}, method="PUT",
    )  # fmt: skip
    with urllib.request.urlopen(put, timeout=20) as response:
        assert response.status == 200
    becomes('hearthgate_writes_total{outcome="done"}', lambda writes: writes == 1)
    becomes("hearthgate_write_seconds_count", lambda writes: writes == 1)
    metadata = json.loads(fetch(f"{server}/api/v1/metadata?metric=hearthgate_write_seconds"))["data"]
    assert metadata["hearthgate_write_seconds"][0]["type"] == "histogram"
