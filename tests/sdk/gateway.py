"""Starts the program under test on a port of its own, with a configuration made for the scripted upstream.

Knows the command line and the configuration as the documentation gives them, nothing of the code.
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("POINTSMAN_BIN", ROOT / "target" / "debug" / "pointsman"))
START_SECONDS_MAX = 60.0
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")

KEY = "sk-research-key"
HASHED_KEY = "sk-given-as-a-hash"
OPS_KEY = "sk-ops-key"
VISION_KEY = "sk-vision-key"
POOL = ["small", "large", "placed", "plain", "azure", "down", "hasty"]
ROUTES = ["auto", "cautious", "eager", "priced", "dice", "best", "fixed", "after_down", "after_hasty"]


def configuration(url, extra: str = "") -> str:
    """The YAML file of the suites. `url` gives the base URL of the upstream of a name."""
    hashed = hashlib.sha256(HASHED_KEY.encode()).hexdigest()
    # The suites break upstreams one after the other: none of them is to be left alone for it.
    breaker = "breaker: {failures: 1000000, calls_min: 1000000}"
    everything = f"features: [tools, json_schema, vision], context_tokens: 128000, {breaker}"
    return f"""
listen: 127.0.0.1:0
{extra}
models:
  small:   {{ provider: openai, base_url: "{url("small")}", api_key: sk-upstream-small, model: small-2024-01-01,
              rated_as: mixtral-8x7b-instruct-v0.1, price: {{input: 0.05, output: 0.05}}, {everything},
              headers: {{x-team: search}} }}
  large:   {{ provider: openai, base_url: "{url("large")}", api_key: sk-upstream-large, model: large-2024-01-01,
              rated_as: gpt-4-1106-preview, price: {{input: 10.00, output: 30.00}}, {everything} }}
  # Described by a rating alone. No key: none is sent.
  placed:  {{ provider: openai, base_url: "{url("placed")}", elo: 1150, price: {{input: 0.50, output: 0.50}}, {everything} }}
  # Called by name only: no row of an artefact describes it. No `model:`: the upstream knows it by the same name.
  plain:   {{ provider: openai, base_url: "{url("plain")}", api_key: sk-upstream-plain, price: {{input: 1.00, output: 1.00}},
              usage: as_is, {everything} }}
  azure:   {{ provider: openai, base_url: "{url("azure")}", query: {{api-version: "2024-10-21"}}, auth_header: api-key,
              api_key: sk-upstream-azure, price: {{input: 1.00, output: 1.00}}, {everything} }}
  # Nobody listens on port 1.
  down:    {{ provider: openai, base_url: "http://127.0.0.1:1/v1", price: {{input: 1.00, output: 1.00}}, {everything} }}
  # Waits no longer than a second for the first token.
  hasty:   {{ provider: openai, base_url: "{url("hasty")}", timeouts: {{response_headers: 1s, first_token: 1s, between_tokens: 1s}}, price: {{input: 1.00, output: 1.00}}, {everything} }}
  private: {{ provider: openai, base_url: "{url("private")}", rated_as: gpt-4-1106-preview,
              price: {{input: 10.00, output: 30.00}}, {everything} }}
  # The dearest of its pool and no use for images, tools or long prompts.
  texter:  {{ provider: openai, base_url: "{url("texter")}", rated_as: gpt-4-1106-preview,
              price: {{input: 90.00, output: 90.00}}, features: [], context_tokens: 2000 }}
routes:
  auto:       {{ router: mf, strong_share: 0.3, timeout: 5s, retry: {{max: 0}} }}
  cautious:   {{ router: mf, threshold: 1.0, timeout: 5s }}
  eager:      {{ router: mf, threshold: 0.0, timeout: 5s }}
  priced:     {{ router: mf, utility: 100, timeout: 5s }}
  dice:       {{ router: random, threshold: 0.5 }}
  best:       {{ router: best_single, threshold: 0.5 }}
  fixed:      {{ models: [small, large], retry: {{max: 0}} }}
  after_down: {{ models: [down, large], retry: {{max: 0}} }}
  after_hasty: {{ models: [hasty, large], retry: {{max: 0}} }}
tenants:
  research: {{ keys: [ {{key: {KEY}}}, {{hash: "sha256:{hashed}"}} ], pool: [{", ".join(POOL)}], default_route: auto, default_model: small }}
  ops:      {{ keys: [ {{key: {OPS_KEY}}} ], pool: [private, small], default_route: fixed, default_model: small }}
  vision:   {{ keys: [ {{key: {VISION_KEY}}} ], pool: [texter, placed], default_route: eager, default_model: placed }}
"""


class Program:
    """A running `pointsman`, its output read line by line so that tests can wait on it."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None):
        command = [str(BINARY), *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, encoding="utf-8", cwd=cwd, **pipes)
        self.lines: list[str] = []
        self.fresh: queue.Queue[str | None] = queue.Queue()
        for pipe in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe) -> None:
        for line in pipe:
            self.lines.append(line.rstrip("\n"))
            self.fresh.put(line.rstrip("\n"))
        self.fresh.put(None)

    def wait_line(self, pattern: str | re.Pattern, seconds_max: float = START_SECONDS_MAX) -> re.Match:
        """Waits for the next line, of either output, in which the pattern is found."""
        ended = 0
        while ended < 2:
            try:
                line = self.fresh.get(timeout=seconds_max)
            except queue.Empty:
                raise AssertionError(f"no line with {pattern!r}; the program said:\n{self.said()}") from None
            if line is None:
                ended += 1
            elif found := re.search(pattern, line):
                return found
        raise AssertionError(f"the program ended without a line with {pattern!r}; it said:\n{self.said()}")

    def said(self) -> str:
        """All it printed so far."""
        return "\n".join(self.lines)

    def stop(self, seconds_max: float = 20.0) -> int:
        """Sends SIGTERM and waits for the end; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"still running after SIGTERM; it said:\n{self.said()}") from None


class Gateway(Program):
    """`pointsman serve` on a configuration, ready for requests."""

    def __init__(self, file: Path, text: str):
        file.write_text(text, encoding="utf-8")
        self.file = file
        super().__init__("serve", "--config", file)
        try:
            self.url = self.wait_line(LISTENING).group(1)
        except AssertionError:
            self.process.kill()
            raise

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    def metrics(self, url: str | None = None) -> str:
        """The metrics page."""
        with urllib.request.urlopen(f"{url or self.url}/metrics", timeout=10) as page:
            return page.read().decode()

    def memory_peak_bytes(self) -> int:
        """The most memory the process has held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(page: str, name: str) -> list[tuple[dict[str, str], float]]:
    """All series of a metric: labels and value."""
    found = []
    for line in page.splitlines():
        if line.startswith((name + "{", name + " ")):
            labels, _, value = line[len(name) :].rpartition(" ")
            found.append((dict(LABEL.findall(labels)), float(value)))
    return found


def total(page: str, name: str, **labels: str) -> float:
    """The sum of a metric over all series that carry these labels."""
    series = samples(page, name)
    return sum(value for have, value in series if all(have.get(key) == want for key, want in labels.items()))
