"""What dashboards and rules ask for is what docs/metrics.md promises."""

from __future__ import annotations

import pytest
from shipped import OF_EVERY_METRIC, SUFFIXES, aggregations, documented, matchers, metrics_in, queries, rules, selectors

DOCUMENTED = documented()
RULES = rules()
EXPRESSIONS = [pytest.param(query.expanded(), id=str(query)) for query in queries()]
EXPRESSIONS += [pytest.param(rule.expression, id=rule.name) for rule in RULES]


def labels_of(metric: str) -> frozenset[str] | None:
    """The labels that a metric's series have; none where nobody has heard of it."""
    if metric == "up":
        return frozenset(OF_EVERY_METRIC)
    if metric in DOCUMENTED and DOCUMENTED[metric].kind != "histogram":
        return DOCUMENTED[metric].labels | OF_EVERY_METRIC
    for suffix in SUFFIXES:
        family = DOCUMENTED.get(metric.removesuffix(suffix))
        if metric.endswith(suffix) and family and family.kind == "histogram":
            return family.labels | OF_EVERY_METRIC | ({"le"} if suffix == "_bucket" else set())
    recorded = [rule for rule in RULES if rule.name == metric and not rule.is_alert]
    if not recorded:
        return None
    # The level that a recorded metric's name begins with is what is left of the labels.
    level = metric.split(":")[0].split("_")
    return frozenset(level) | frozenset(label for rule in recorded for label in rule.raw.get("labels", {}))


def test_the_documentation_is_read():
    assert len(DOCUMENTED) > 50
    assert DOCUMENTED["pointsman_requests_total"].labels == {"tenant", "route", "model", "outcome"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_metrics_and_labels_are_documented(expression: str):
    for selector in selectors(expression):
        labels = labels_of(selector.name)
        assert labels is not None, f"{selector.name} is not documented"
        assert {matcher.name for matcher in matchers(selector)} <= labels, selector
    for aggregation, named in aggregations(expression):
        inside = [labels_of(metric) for metric in metrics_in(aggregation)]
        assert named <= frozenset().union(*inside), aggregation


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.is_alert], ids=str)
def test_a_recorded_metric_is_named_by_its_labels(rule):
    (grouped, *others) = [named - {"le"} for _, named in aggregations(rule.expression)] or [None]
    assert grouped is None or all(grouped == other for other in others)
    assert grouped is None or grouped == set(rule.name.split(":")[0].split("_"))


def test_every_documented_metric_is_on_a_dashboard_or_in_an_alert():
    asked = {metric for expression in EXPRESSIONS for metric in metrics_of(expression.values[0])}
    families = {name.removesuffix(suffix) for name in asked for suffix in SUFFIXES} | asked
    assert DOCUMENTED.keys() - families == set()


def metrics_of(expression: str) -> list[str]:
    """The metrics that an expression reads."""
    return [selector.name for selector in selectors(expression)]
