"""Every query and every rule against a Prometheus that has watched the gateways; some of them against what the traffic must give."""

from __future__ import annotations

import math
import re

import pytest
from configuration import BUDGET_USD
from conftest import Stand, needs_prometheus
from prometheus import JOB, promtool
from shipped import (
    DASHBOARDS,
    EVERYTHING,
    SUFFIXES,
    VARIABLE,
    Query,
    documented,
    load,
    panels,
    queries,
    rules,
    selectors,
)

pytestmark = needs_prometheus
QUERIES = queries()
LEGEND = re.compile(r"\{\{(\w+)\}\}")
SHOWN_SECONDS = 60.0
# What `increase` makes of counts: it reaches a little beyond the first and the last sample.
INCREASE_TOLERANCE = 0.08


def shown(stand: Stand, query: Query, **chosen: str) -> list[tuple[dict[str, str], list[float]]]:
    """What a panel shows: labels and values."""
    expression = query.expanded(**chosen)
    if query.is_instant:
        return [(labels, [value]) for labels, value in stand.prometheus.query(expression, stand.at)]
    return stand.prometheus.range(expression, stand.at - SHOWN_SECONDS, stand.at)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_panel_shows_something(stand: Stand, query: Query):
    series = shown(stand, query)
    assert series, "no series"
    assert any(math.isfinite(value) for _, values in series for value in values), series
    for label in LEGEND.findall(query.legend):
        assert any(label in labels for labels, _ in series), f"no series has the label {label}"


TABLES = [
    pytest.param(file.stem, panel, id=f"{file.stem}: {panel['title']}")
    for file in DASHBOARDS
    for panel in panels(load(file))
    if panel["type"] == "table"
]


@pytest.mark.parametrize(("dashboard", "panel"), TABLES)
def test_a_tables_columns_are_there(stand: Stand, dashboard: str, panel: dict):
    titles = panel["transformations"][1]["options"]["renameByName"]
    wanted = {name for name in titles if not name.startswith("Value")}
    for query in QUERIES:
        if (query.dashboard, query.panel) == (dashboard, panel["title"]):
            assert {label for labels, _ in shown(stand, query) for label in labels} == wanted


VARIABLES = {
    (file.stem, one["name"]): VARIABLE.sub(EVERYTHING, one["query"]["query"])
    for file in DASHBOARDS
    for one in load(file)["templating"]["list"]
    if one["type"] == "query"
}


@pytest.mark.parametrize("dashboard_and_name", VARIABLES, ids=" ".join)
def test_a_variable_has_values(stand: Stand, dashboard_and_name):
    selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", VARIABLES[dashboard_and_name]).groups()
    values = stand.prometheus.ask(f"label/{label}/values", **{"match[]": selector})
    assert values


@pytest.mark.parametrize("rule", [rule for rule in rules() if not rule.is_alert], ids=str)
def test_a_rule_records_something(stand: Stand, rule):
    matching = "".join(f', {name}="{value}"' for name, value in rule.raw.get("labels", {}).items())
    series = stand.prometheus.query(f'{rule.name}{{job="{JOB}"{matching}}}', stand.at)
    assert any(math.isfinite(value) for _, value in series), series


@pytest.mark.parametrize("rule", [rule for rule in rules() if rule.is_alert], ids=str)
def test_an_alert_asks_for_what_is_there(stand: Stand, rule):
    stand.prometheus.query(rule.expression, stand.at)
    for selector in selectors(rule.expression):
        assert stand.prometheus.query(str(selector), stand.at), f"{selector} is empty"


def test_no_rule_has_failed(stand: Stand):
    groups = stand.prometheus.ask("rules")["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert len(evaluated) == len(rules())
    assert [(rule["name"], rule.get("lastError")) for rule in evaluated if rule["health"] != "ok"] == []


def test_the_alerts_that_are_due_are_under_way(stand: Stand):
    """None has been so for long enough to fire but those of a minute."""
    found = {labels["alertname"] for labels, _ in stand.prometheus.query("ALERTS", stand.at)}
    # A model that fails each time, one that is left alone, one that reports no usage, a route that fails open, two gateways with files of their own.
    due = {"PointsmanUpstreamFailing", "PointsmanBreakerOpen", "PointsmanUsageMissing", "PointsmanConfigsDiffer"}
    assert due <= found
    # The last configuration of each is in force, though there was one that did not hold.
    assert found.isdisjoint({"PointsmanConfigReloadFailed", "PointsmanDown", "PointsmanAbsent", "PointsmanLedgerSpilling", "PointsmanAccessLogLost"})
    assert ("PointsmanRedisDown" in found) != stand.has_redis


def test_every_documented_metric_was_touched(stand: Stand):
    """None is left out of what the other tests look at."""
    names = set(stand.prometheus.ask("label/__name__/values"))
    shown_names = {name.removesuffix(suffix) for name in names for suffix in SUFFIXES} | names
    assert documented().keys() - shown_names == set()


def test_the_page_of_metrics_is_in_good_order(stand: Stand):
    for gateway in (stand.alone, stand.of_a_fleet):
        ran = promtool("check", "metrics", stdin=gateway.metrics())
        assert ran.returncode == 0, ran.stdout + ran.stderr


# What was counted, to the last request.

COUNTED = [
    "pointsman_requests_total",
    "pointsman_decisions_total",
    "pointsman_choices_total",
    "pointsman_strong_decisions_total",
    "pointsman_fail_open_total",
    "pointsman_routed_requests_total",
    "pointsman_routed_cost_usd_total",
    "pointsman_routed_best_cost_usd_total",
    "pointsman_tokens_total",
    "pointsman_cost_usd_total",
    "pointsman_usage_estimated_total",
    "pointsman_attempts_total",
    "pointsman_retries_total",
    "pointsman_fallbacks_total",
    "pointsman_streams_rescued_total",
    "pointsman_hedges_total",
    "pointsman_cache_requests_total",
    "pointsman_limited_total",
    "pointsman_budget_refused_total",
    "pointsman_budget_alerts_total",
    "pointsman_config_reloads_total",
]
# Of these, other models' are estimated in part.
ESTIMATED_IN_PART = {"pointsman_tokens_total", "pointsman_cost_usd_total"}


@pytest.mark.parametrize("metric", COUNTED)
def test_counts_are_what_clients_saw(stand: Stand, metric: str):
    for instance, tally in [("alone", stand.traffic.tally), ("of-a-fleet", stand.traffic.fleet_tally)]:
        models = ', model=~"small|large"' if metric in ESTIMATED_IN_PART else ""
        series = stand.prometheus.query(f'{metric}{{instance="{instance}"{models}}} != 0', stand.at)
        found = {
            frozenset(labels.items() - {("job", JOB), ("instance", instance), ("__name__", metric)}): value for labels, value in series
        }
        wanted = tally.counts.get(metric, {})
        assert found.keys() == wanted.keys(), (found.keys() - wanted.keys(), wanted.keys() - found.keys())
        for labels, value in wanted.items():
            assert math.isclose(found[labels], value, rel_tol=1e-9), (labels, found[labels], value)


def panel(dashboard: str, title: str, place: int = 0) -> Query:
    """A query of a panel."""
    return [query for query in QUERIES if (query.dashboard, query.panel) == (dashboard, title)][place]


def one(stand: Stand, dashboard: str, title: str, **chosen: str) -> float:
    """The number that a panel shows now."""
    ((_, values),) = shown(stand, panel(dashboard, title), **chosen)
    return values[-1]


def grown(stand: Stand, metric: str, matching: str = "") -> float:
    """How much a counter has grown since Prometheus first saw it, which is what `increase` can know: the value that it is first seen with is not
    part of that. What it has come to in all is held against what clients saw above."""
    series = f"{metric}{{{matching}}}"
    ((_, value),) = stand.prometheus.query(f"sum({series} - min_over_time({series}[10m]))", stand.at)
    return value


def test_the_strong_share_is_what_clients_saw(stand: Stand):
    strong = grown(stand, "pointsman_strong_decisions_total", 'route="auto"')
    every = grown(stand, "pointsman_choices_total", 'route="auto"')
    assert 0 < strong < every
    assert one(stand, "routing", "Strong share", route="auto") == pytest.approx(strong / every, rel=0.02)
    of_all_routers = grown(stand, "pointsman_strong_decisions_total") / grown(stand, "pointsman_choices_total")
    assert one(stand, "routing", "Strong share") == pytest.approx(of_all_routers, rel=0.02)


def test_savings_are_what_answers_cost_less_than_the_best_models(stand: Stand):
    best, spent = (grown(stand, f"pointsman_routed_{name}cost_usd_total") for name in ("best_", ""))
    assert best > spent > 0
    assert one(stand, "routing", "Saved") == pytest.approx(best - spent, rel=INCREASE_TOLERANCE)
    assert one(stand, "routing", "Saved of the best model's cost") == pytest.approx((best - spent) / best, rel=0.02)
    # A tie where the best has answered, less where another has.
    assert 0 < one(stand, "routing", "Quality given up") < 0.5


def test_spending_is_what_the_prices_make_of_the_tokens(stand: Stand):
    for tenant, model in [("research", "large"), ("research", "small"), ("remote", "small")]:
        wanted = grown(stand, "pointsman_cost_usd_total", f'tenant="{tenant}", model="{model}"')
        assert one(stand, "tenants", "Spent", tenant=tenant, model=model) == pytest.approx(wanted, rel=INCREASE_TOLERANCE)


def test_requests_by_outcome_are_what_clients_saw(stand: Stand):
    wanted = grown(stand, "pointsman_requests_total", 'tenant="research"')
    assert one(stand, "traffic", "Requests", tenant="research") == pytest.approx(wanted, rel=INCREASE_TOLERANCE)
    failed = grown(stand, "pointsman_requests_total", 'tenant="research", outcome="upstream_error"')
    owed = wanted - grown(stand, "pointsman_requests_total", 'tenant="research", outcome="client_error"')
    assert failed and one(stand, "traffic", "Failed", tenant="research") == pytest.approx(failed / owed, rel=0.1)


def test_failures_fallbacks_and_retries_are_what_upstreams_did(stand: Stand):
    failures = {labels["model"]: values[-1] for labels, values in shown(stand, panel("upstreams", "Error ratio by model"))}
    assert failures["flaky"] == failures["again"] == failures["cutting"] == 1
    assert failures["small"] == failures["large"] == failures["plain"] == 0
    for title, metric in [("Fallbacks", "pointsman_fallbacks_total"), ("Retries", "pointsman_retries_total")]:
        wanted = grown(stand, metric)
        assert wanted and one(stand, "upstreams", title) == pytest.approx(wanted, rel=INCREASE_TOLERANCE), title
    assert one(stand, "upstreams", "Left alone now") == 1
    ((_, breakers),) = shown(stand, panel("upstreams", "Breakers"), model="fragile")
    assert breakers[-1] == 1


def test_what_is_left_of_a_budget_is_what_was_not_spent(stand: Stand):
    """The tenant's own, its project's and the project's key's."""
    tally = stand.traffic.tally
    spent = tally.of("pointsman_cost_usd_total", tenant="frugal")
    by_project = tally.of("pointsman_cost_usd_total", tenant="frugal", model="small")
    assert spent > by_project > 0
    wanted = {("none", "none"): (BUDGET_USD, spent), ("side", "none"): (2, by_project), ("side", "side-key"): (1, by_project)}
    for title, of in [("Budgets: left", lambda limit, gone: limit - gone), ("Budgets: used", lambda limit, gone: gone / limit)]:
        found = {(labels["project"], labels["key"]): values[-1] for labels, values in shown(stand, panel("tenants", title))}
        assert found == pytest.approx({holder: of(*amounts) for holder, amounts in wanted.items()}), title


def test_the_cache_was_hit_every_second_time(stand: Stand):
    ((_, values),) = shown(stand, panel("traffic", "Cache: hit ratio"))
    assert values[-1] == pytest.approx(0.5, rel=0.02)


def test_configurations_are_counted(stand: Stand):
    versions = {labels["instance"]: values[-1] for labels, values in shown(stand, panel("traffic", "Configuration"))}
    assert versions == {"alone": 3, "of-a-fleet": 1}


def test_redis_is_connected(stand: Stand):
    if not stand.has_redis:
        pytest.skip("SKIPPED: there is no redis-server here")
    ((labels, values),) = shown(stand, panel("traffic", "Redis"))
    assert labels["instance"] == "of-a-fleet" and values[-1] == 1
