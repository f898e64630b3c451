"""The rules by Prometheus' own tools; and whether their tests would notice what is wrong with them."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import needs_prometheus
from prometheus import RULE_TESTS, RULES, promtool
from shipped import rules

from gateway import ROOT

ALERTS = [rule for rule in rules() if rule.is_alert]
RUNBOOK = "https://github.com/pointsman/pointsman/blob/main/docs/runbook.md#"


@needs_prometheus
def test_the_rules_are_valid():
    ran = promtool("check", "rules", *RULES)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_prometheus
def test_the_rules_do_what_their_tests_say():
    ran = promtool("test", "rules", *RULE_TESTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_prometheus
@pytest.mark.parametrize("name", ["prometheus.yml", "local.yml"])
def test_the_shipped_configurations_scrape_what_the_alerts_look_for(name: str):
    file = ROOT / "deploy/prometheus" / name
    ran = promtool("check", "config", file)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    jobs = [job["job_name"] for job in yaml.safe_load(file.read_text())["scrape_configs"]]
    assert any("pointsman" in job for job in jobs)


def _always(alert: dict) -> None:
    alert["expr"] = "vector(1)"


def _never(alert: dict) -> None:
    alert["expr"] = "vector(1) == 0"


def _sooner(alert: dict) -> None:
    alert["for"] = "0s"


def _later(alert: dict) -> None:
    alert["for"] = alert["for"].replace("m", "1m").replace("h", "1h")  # 5m becomes 51m


@needs_prometheus
@pytest.mark.parametrize("spoil", [_always, _never, _sooner, _later], ids=lambda spoil: spoil.__name__[1:])
@pytest.mark.parametrize("alert", ALERTS, ids=str)
def test_a_spoilt_alert_is_noticed(alert, spoil, tmp_path: Path):
    (tmp_path / "rules").mkdir()
    for file in RULES:
        told = copy.deepcopy(yaml.safe_load(file.read_text()))
        for group in told["groups"]:
            for rule in group["rules"]:
                if rule.get("alert") == alert.name:
                    spoil(rule)
        (tmp_path / "rules" / file.name).write_text(yaml.safe_dump(told))
    tests = shutil.copytree(ROOT / "deploy/prometheus/tests", tmp_path / "tests")
    about_it = [file for file in sorted(tests.glob("*.yml")) if f'"{alert.name}"' in file.read_text()]
    ran = promtool("test", "rules", *about_it)
    assert ran.returncode != 0, f"{alert.name} {spoil.__name__}"


@pytest.mark.parametrize("alert", ALERTS, ids=str)
def test_an_alert_says_what_to_do(alert):
    notes = alert.raw["annotations"]
    assert alert.raw["labels"]["severity"] in ("critical", "warning") and alert.raw["for"]
    assert notes["summary"] and len(notes["description"]) > 80
    assert notes["runbook_url"] == RUNBOOK + alert.name.lower()


def test_the_runbook_and_the_list_of_alerts_know_every_alert_and_no_other():
    names = {alert.name for alert in ALERTS}
    runbook = (ROOT / "docs/runbook.md").read_text().splitlines()
    assert {line[3:] for line in runbook if line.startswith("## Pointsman")} == names
    listed = (ROOT / "docs/observability.md").read_text().splitlines()
    rows = {line.split("`")[1]: line for line in listed if line.startswith("| [`Pointsman")}
    assert rows.keys() == names
    for alert in ALERTS:
        cells = [cell.strip() for cell in rows[alert.name].strip("|").split("|")]
        assert cells[1:3] == [alert.raw["labels"]["severity"], alert.raw["for"]], alert.name
