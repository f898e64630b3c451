"""A Prometheus of the suite's own: it scrapes the gateways every second and evaluates the rules as they are shipped."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from pathlib import Path

from waiting import wait_until

from gateway import ROOT

RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
RULE_TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
JOB = "pointsman"
LISTENING = re.compile(r'msg="?Listening on"? address="?(127\.0\.0\.1:\d+)')


def installed() -> bool:
    """Whether there is a Prometheus to be started."""
    return bool(shutil.which("prometheus") and shutil.which("promtool"))


def promtool(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess:
    """Runs promtool."""
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=60, check=False)


class Prometheus:
    """The server. Series of a gateway have its name as `instance`."""

    def __init__(self, folder: Path, gateways: dict[str, int]):
        file = folder / "prometheus.yml"
        jobs = [
            {
                "job_name": JOB,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in gateways.items()],
            }
        ]
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        # YAML, as all JSON is.
        file.write_text(json.dumps({"global": every, "rule_files": list(map(str, RULES)), "scrape_configs": jobs}))
        options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0"]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        self.process = subprocess.Popen(["prometheus", *options], text=True, **pipes)
        self.said: list[str] = []
        self.url = f"http://{self._wait_listening()}"
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(self._is_ready, "Prometheus")

    def _wait_listening(self) -> str:
        for line in self.process.stderr:
            self.said.append(line)
            if found := LISTENING.search(line):
                return found.group(1)
        raise AssertionError("Prometheus ended: " + "".join(self.said))

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said.append(line)

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(20)

    def ask(self, path: str, **parameters: object) -> object:
        """The data of an answer of its API; an error is an assertion."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """The series of an expression at a time: labels and value."""
        moment = {} if at is None else {"time": at}
        result = self.ask("query", query=expression, **moment)
        if result["resultType"] == "scalar":
            return [({}, float(result["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in result["result"]]

    def range(self, expression: str, start: float, end: float) -> list[tuple[dict[str, str], list[float]]]:
        """The series of an expression over a time: labels and values."""
        result = self.ask("query_range", query=expression, start=start, end=end, step=1)["result"]
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in result]

    def wait_seen(self) -> None:
        """Waits until every gateway was scraped, and after that every rule evaluated, from now on."""
        self._wait_all("targets", lambda: [one["lastScrape"] for one in self.ask("targets")["activeTargets"]])
        self._wait_all("rules", self._evaluated)
        # A group may read what another records: what is recorded once is read the next time.
        self._wait_all("rules, again", self._evaluated)

    def _evaluated(self) -> list[str]:
        return [rule["lastEvaluation"] for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def _wait_all(self, what: str, times) -> None:
        now = time.time()

        def all_later() -> bool:
            found = times()
            return bool(found) and all(_seconds(one) > now for one in found)

        wait_until(all_later, what)


def _seconds(text: str) -> float:
    """Seconds since 1970 of a time in UTC or with an offset, to the microsecond: Prometheus writes as many digits as there are."""
    whole, fraction, zone = re.fullmatch(r"([^.]+?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text).groups()
    digits = (fraction or "").ljust(6, "0")[:6]
    return datetime.fromisoformat(f"{whole}.{digits}{zone.replace('Z', '+00:00')}").timestamp()
