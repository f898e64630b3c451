"""What the tests of deploy/ share: the files, the program that judges configurations, Helm."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "pointsman"
BINARY = Path(os.environ.get("POINTSMAN_BIN", ROOT / "target" / "debug" / "pointsman"))
VARIABLE = re.compile(r"\$\{(\w+)\}")
# What is no secret of any form has one that the program knows.
FORMED = {
    "DATABASE_URL": "postgres://pointsman:placeholder@db.example/pointsman?sslmode=verify-full",
    "REDIS_URL": "rediss://:placeholder@redis.example:6380/0",
}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def load(path: str):
    return yaml.safe_load(read(path))


def version() -> str:
    """The program's, which images and charts carry."""
    return re.search(r'^version\s*=\s*"([^"]+)"', read("Cargo.toml"), re.MULTILINE).group(1)


def check_config(file: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`pointsman check-config`, each variable that the file names having some value."""
    if environment is None:
        environment = {name: FORMED.get(name, f"placeholder-{name}") for name in VARIABLE.findall(file.read_text("utf-8"))}
    return subprocess.run(
        [BINARY, "check-config", file],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def warnings(checked: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in checked.stdout.splitlines() if ": warning: " in line]


def seconds(duration: str) -> float:
    """`90s`, `1.5m`, as compose files, the container file and configurations write them."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)", duration).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def drain_seconds(config: dict) -> float:
    """How long the gateway may take to end, by a configuration or by the program's defaults."""
    server = config.get("server", {})
    return seconds(server.get("drain_delay", "0s")) + seconds(server.get("drain_timeout", "30s"))


@functools.cache
def helm():
    try:
        import helm_python
    except (ImportError, OSError) as error:
        pytest.skip(f"no Helm: {error}")
    return helm_python


def render(values: dict | None = None, name: str = "demo", namespace: str = "llm") -> list[dict]:
    """The chart's manifests, the schema of its values having agreed."""
    with helm().Chart.load(CHART) as chart:
        chart.validate_schema(values or {})
        texts = chart.render(values or {}, name=name, namespace=namespace)
    manifests = [text for path, text in texts.items() if path.endswith(".yaml")]
    return [document for text in manifests for document in yaml.safe_load_all(text) if document]
