"""The dashboards as Grafana reads them: its types, what they refer to, where panels are."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import DASHBOARDS, GRAFANA, VARIABLE, load, panels

from gateway import ROOT

HERE = Path(__file__).resolve().parent
COMPILER = HERE / "node_modules/typescript/bin/tsc"
OPTIONS = "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler --target es2022 --pretty false".split()
ALL = [pytest.param(load(file), id=file.stem) for file in DASHBOARDS]
# Of one text each in all of the dashboards, so that a change of it makes something that Grafana's types refuse.
SPOILT = [
    ('"type": "stat"', '"type": "statistic"'),
    ('"mode": "percent"', '"mode": "percents"'),
    ('"graphMode"', '"graphModes"'),
    ('"uid": "pointsman-routing"', '"uid": 5'),
    ('"placement": "bottom"', '"placement": "under"'),
    ('"type": "query"', '"type": "question"'),
    ('"h": 9', '"height": 9'),
]


def test_the_dashboards_are_of_grafanas_types_and_what_is_not_is_noticed(tmp_path: Path):
    if not (shutil.which("node") and COMPILER.exists()):
        pytest.skip("SKIPPED: Grafana's types or Node are not installed")
    text = "".join(f"({file.read_text().strip()} satisfies PlainDashboard);\n" for file in DASHBOARDS)
    assert all(good in text for good, _ in SPOILT)
    files = {"dashboards.ts": text} | {f"spoilt-{n}.ts": text.replace(*spoil) for n, spoil in enumerate(SPOILT)}
    for name, inside in files.items():
        (tmp_path / name).write_text('import type { PlainDashboard } from "./schema";\n' + inside)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    shutil.copy(HERE / "schema.ts", tmp_path)
    command = ["node", str(COMPILER), *OPTIONS, *files]
    ran = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=170, check=False)
    refused: dict[str, list[str]] = {}
    for line in ran.stdout.splitlines():
        refused.setdefault(line.split("(")[0], []).append(line[:500])
    assert "dashboards.ts" not in refused, refused["dashboards.ts"][:5]
    assert refused.keys() == files.keys() - {"dashboards.ts"}, (refused.keys(), ran.stderr)


def test_the_dashboards_are_what_their_script_makes():
    command = [sys.executable, str(ROOT / "deploy/grafana/generate.py"), "--check"]
    ran = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_there_are_four_and_each_has_a_uid_of_its_own():
    assert {file.stem: load(file)["uid"] for file in DASHBOARDS} == {
        name: f"pointsman-{name}" for name in ("routing", "tenants", "traffic", "upstreams")
    }


@pytest.mark.parametrize("dashboard", ALL)
def test_variables_are_there_and_used(dashboard):
    known = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    used = set(VARIABLE.findall(json.dumps([dashboard["panels"], [one.get("query") for one in known.values()]])))
    assert used - GRAFANA.keys() - known.keys() == set()
    assert known.keys() - used == set()
    assert known["datasource"]["type"] == "datasource" and known["datasource"]["current"]["value"] == "prometheus"
    for variable in known.values():
        if variable["type"] == "query":
            assert variable["multi"] and variable["includeAll"] and variable["allValue"] == ".*"


@pytest.mark.parametrize("dashboard", ALL)
def test_every_selector_of_several_values_is_a_regular_expression(dashboard):
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            assert not re.search(r'(?<!=~)"\$', target["expr"]), target["expr"]


@pytest.mark.parametrize("dashboard", ALL)
def test_panels_have_ids_of_their_own_and_do_not_overlap(dashboard):
    every = list(panels(dashboard))
    assert len({panel["id"] for panel in every}) == len(every)
    taken: dict[tuple[int, int], str] = {}
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24 and place["w"] > 0 and place["h"] > 0, panel["title"]
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(columns, lines):
            assert cell not in taken, f"{panel['title']} lies upon {taken[cell]}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize("dashboard", ALL)
def test_panels_say_what_they_mean_in_what_unit(dashboard):
    for panel in panels(dashboard):
        if panel["type"] == "row":
            continue
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["targets"] and len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        if panel["type"] in ("timeseries", "stat", "bargauge"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("dashboard", ALL)
def test_dashboards_lead_to_one_another(dashboard):
    (link,) = dashboard["links"]
    assert link["type"] == "dashboards" and link["includeVars"] and link["keepTime"]
    sisters = [load(file) for file in DASHBOARDS]
    assert all(set(link["tags"]) <= set(sister["tags"]) for sister in sisters)
