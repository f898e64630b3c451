"""What every test of the suite is given: two gateways under scripted traffic, and a Prometheus that watched them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))

import configuration as told  # noqa: E402  (the gateway's own module is found through the path above)
from prometheus import Prometheus, installed  # noqa: E402
from traffic import Traffic  # noqa: E402
from waiting import wait_until  # noqa: E402

import gateway as program  # noqa: E402
from upstream import Upstream  # noqa: E402

needs_prometheus = pytest.mark.skipif(not installed(), reason="SKIPPED: there is no prometheus and no promtool here")
STEADY_ROUNDS = 3
WATCHED_SECONDS_MIN = 25.0


@dataclass
class Stand:
    """All that runs, once the traffic is over; `at` is when all of it had been seen."""

    alone: program.Gateway
    of_a_fleet: program.Gateway
    traffic: Traffic
    prometheus: Prometheus
    has_redis: bool
    at: float = 0.0


@pytest.fixture(scope="session")
def redis(tmp_path_factory) -> Iterator[str | None]:
    """The address of a Redis of the suite's own, where there is one to be started."""
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen([server, *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, "Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()


@pytest.fixture(scope="session")
def stand(tmp_path_factory, redis: str | None) -> Iterator[Stand]:
    """Everything, after the traffic."""
    if not installed():
        pytest.skip("SKIPPED: there is no prometheus here")
    folder, upstream = tmp_path_factory.mktemp("observe"), Upstream()
    running: list[program.Program] = []
    watching = None
    try:
        alone = program.Gateway(folder / "alone.yaml", told.alone(upstream.url, str(folder / "ledger.db")))
        running.append(alone)
        of_a_fleet = program.Gateway(folder / "fleet.yaml", told.of_a_fleet(upstream.url, redis or told.REDIS_AWAY))
        running.append(of_a_fleet)
        watching = Prometheus(folder, {"alone": alone.port, "of-a-fleet": of_a_fleet.port})
        made = Stand(alone, of_a_fleet, Traffic(upstream, alone, of_a_fleet), watching, redis is not None)
        _play(made)
        yield made
    finally:
        if watching:
            watching.stop()
        upstream.release_all()
        statuses = [one.stop() for one in running]
        upstream.close()
    assert statuses == [0, 0] and "panicked" not in "".join(one.said() for one in running)


def _play(stand: Stand) -> None:
    traffic, prometheus = stand.traffic, stand.prometheus
    # What is shown at zero is to be seen so first, and what is not is to be there before most of it is counted.
    prometheus.wait_seen()
    # A reload forgets what drift is told by, so that it comes first.
    traffic.reloads()
    traffic.steady()
    prometheus.wait_seen()
    began = time.monotonic()
    traffic.once()
    for _ in range(STEADY_ROUNDS - 1):
        traffic.steady()
    # `increase` reaches a second beyond the samples that there are: little, once there are enough of them.
    wait_until(lambda: time.monotonic() > began + WATCHED_SECONDS_MIN, "samples", WATCHED_SECONDS_MIN + 30)
    prometheus.wait_seen()
    stand.at = time.time()
