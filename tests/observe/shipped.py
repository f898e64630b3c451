"""The dashboards, the rules and the documentation as they are shipped: their queries, what these mention, and with what variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import promql_parser as promql
import yaml
from prometheus import RULES

from gateway import ROOT

DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
# What Grafana puts in place of its own variables; long enough for all of the suite's traffic.
GRAFANA = {"__rate_interval": "10m", "__range": "10m", "__interval": "15s"}
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
EVERYTHING = ".*"
# What Prometheus adds to every series, and what histograms have.
OF_EVERY_METRIC = {"job", "instance"}
SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Query:
    """An expression of a panel, and where it stands."""

    dashboard: str
    panel: str
    expression: str
    legend: str
    is_instant: bool
    name: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.name}"

    def expanded(self, **chosen: str) -> str:
        """As Grafana would send it, with these values of variables and all of the others'."""
        return VARIABLE.sub(lambda name: GRAFANA.get(name[1]) or chosen.get(name[1], EVERYTHING), self.expression)


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of Prometheus."""

    name: str
    expression: str
    is_alert: bool
    raw: dict

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Metric:
    """A metric as docs/metrics.md describes it."""

    kind: str
    labels: frozenset[str]


def load(file: Path) -> dict:
    """A dashboard."""
    return json.loads(file.read_text(encoding="utf-8"))


def panels(dashboard: dict) -> Iterator[dict]:
    """All panels, those of collapsed rows among them."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries() -> list[Query]:
    """Every target of every panel."""
    return [
        Query(file.stem, panel["title"], target["expr"], target["legendFormat"], target["instant"], target["refId"])
        for file in DASHBOARDS
        for panel in panels(load(file))
        for target in panel.get("targets", [])
    ]


def rules() -> list[Rule]:
    """Every rule."""
    return [
        Rule(rule.get("alert") or rule["record"], rule["expr"], "alert" in rule, rule)
        for file in RULES
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def documented() -> dict[str, Metric]:
    """The metrics of docs/metrics.md."""
    found = {}
    for line in (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            name, kind, labels, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            found[name.strip("`")] = Metric(kind, frozenset(re.findall(r"`(\w+)`", labels)))
    return found


def nodes(expression: object) -> Iterator[object]:
    """An expression's tree."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        inside = getattr(expression, name, None)
        if isinstance(inside, promql.Expr):
            yield from nodes(inside)
    for argument in getattr(expression, "args", None) or []:
        yield from nodes(argument)


def selectors(expression: str) -> list[promql.VectorSelector]:
    """Every selector of an expression without variables."""
    return _selectors(promql.parse(expression))


def _selectors(parsed: promql.Expr) -> list[promql.VectorSelector]:
    return [node for node in nodes(parsed) if isinstance(node, promql.VectorSelector)]


def matchers(selector: promql.VectorSelector) -> list[promql.Matcher]:
    """What a selector wants of labels."""
    return [one for one in selector.matchers.matchers if one.name != "__name__"]


def aggregations(expression: str) -> Iterator[tuple[promql.AggregateExpr, set[str]]]:
    """Every aggregation, with the labels that it names."""
    for node in nodes(promql.parse(expression)):
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            yield node, set(node.modifier.labels)


def metrics_in(node: promql.Expr) -> list[str]:
    """The metrics that it reads."""
    return [selector.name for selector in _selectors(node)]
