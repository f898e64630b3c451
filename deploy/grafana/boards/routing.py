"""Where requests are sent, what that saves, what it gives up, and whether the routers are well."""

from __future__ import annotations

from boards.dashboard import JOB, MODEL, ROUTE, TENANT, dashboard
from boards.panels import (
    ORANGE,
    RED,
    YELLOW,
    Column,
    Query,
    falling,
    heatmap,
    row,
    series,
    stat,
    steps,
    table,
)
from boards.quantiles import by_quantile, recorded
from boards.queries import quantile, rate, select, total

LOST = steps((0.05, YELLOW), (0.1, RED))

saved = f"({total('pointsman_routed_best_cost_usd_total', 'tenant')} - {total('pointsman_routed_cost_usd_total', 'tenant')})"
given_up = f"0.5 - {total('pointsman_routed_win_rate_total', 'tenant')} / {total('pointsman_routed_requests_total', 'tenant')}"


def by_tenant(metric: str) -> str:
    """How much by tenant in the time that the dashboard shows."""
    return total(metric, "tenant", by="tenant")


tenant_best, tenant_cost = (
    by_tenant("pointsman_routed_best_cost_usd_total"),
    by_tenant("pointsman_routed_cost_usd_total"),
)
tenant_given_up = f"0.5 - {by_tenant('pointsman_routed_win_rate_total')} / {by_tenant('pointsman_routed_requests_total')}"

GLANCE = [
    row("At a glance"),
    stat(
        "Decisions",
        "Decisions in the time shown, of routers and of routes without one. Requests that name a model are not among them.",
        total("pointsman_decisions_total", "route", "model"),
        unit="short",
    ),
    stat(
        "Strong share",
        "What share of routers' decisions went to the dearest model that could serve the request, where a cheaper one could, too. Compare it with the target below.",
        f"{total('pointsman_strong_decisions_total', 'tenant', 'route')} / {total('pointsman_choices_total', 'tenant', 'route')}",
        unit="percentunit",
    ),
    stat(
        "Saved",
        "What the same tokens of the pool's best model would have cost, less what requests did cost. Negative:"
        " routing costs more than"
        " always asking the best model, because it is cheap or because failed calls are dear. Look at costs by"
        " tenant below.",
        saved,
        unit="currencyUSD",
        thresholds=falling((0, "green")),
    ),
    stat(
        "Saved of the best model's cost",
        "The same in percent. Near 0: nearly every request goes to the best model, or the pool's prices do not"
        " differ. Raise the threshold,"
        " or lower strong_share, if the quality given up allows it.",
        f"{saved} / {total('pointsman_routed_best_cost_usd_total', 'tenant')}",
        unit="percentunit",
        thresholds=falling((0, "green")),
    ),
    stat(
        "Quality given up",
        "By the router's own estimate: 0 where answers are as good as the best model's, 0.5 where every answer is"
        " worse. If it is higher than"
        " the savings are worth, raise strong_share (or lower the threshold) of the route.",
        given_up,
        unit="percentunit",
        thresholds=LOST,
    ),
    stat(
        "Highest drift",
        "How far prompts are from those that thresholds were solved on, at worst. Above 0.25 solve them anew: pointsman calibrate.",
        f"max({select('pointsman_win_rate_drift', 'tenant', 'route')})",
        unit="none",
        thresholds=steps((0.1, YELLOW), (0.25, RED)),
    ),
]

DECISIONS = [
    row("Decisions"),
    series(
        "Decisions by model",
        "Where routes send requests. A sudden change without a new configuration means other prompts (see drift), a"
        " router that fails open,"
        " or an upstream that is left alone.",
        Query(rate("pointsman_decisions_total", "route", "model", by="model"), "{{model}}"),
        unit="percentunit",
        stack="percent",
    ),
    series(
        "Decisions by route and model",
        "The same by route, a second. A route without decisions has no traffic, or its requests are answered from its cache.",
        Query(rate("pointsman_decisions_total", "route", "model", by="route, router, model"), "{{route}} ({{router}}) → {{model}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Strong share and its target",
        "Routers' decisions for the dearest model, of all where there was a choice, over the last hour; dashed, what strong_share says. When"
        " they part, the prompts"
        " are not like the calibration sample (see drift), or models are missing from pools at times. Solve the"
        " threshold on your own prompts.",
        Query('job_tenant_route:pointsman_strong_share:ratio_rate1h{job=~"$job", tenant=~"$tenant", route=~"$route"}', "{{tenant}} {{route}}"),
        Query(
            f"max by (tenant, route) ({select('pointsman_strong_share_target', 'tenant', 'route')})", "target of {{tenant}} {{route}}"
        ),
        unit="percentunit",
        top=1,
        dashed="^target",
    ),
    heatmap(
        "Win rates",
        "How probable it is, by the router, that the dearest model beats every cheaper one: decisions by that"
        " probability. Those at or"
        " above the threshold (beside this) go to the dearest model. A narrow band around the threshold means that"
        " small changes of it move"
        " much traffic: prefer strong_share to a threshold there.",
        Query(f"sum by (le) (increase({select('pointsman_win_rate_bucket', 'route')}[$__rate_interval]))", "{{le}}"),
        unit="percentunit",
    ),
    series(
        "Win rates and thresholds",
        "The same distribution as quantiles, with the threshold of each tenant and route dashed. A threshold above"
        " p99 sends nothing to the"
        " dearest model, one below p10 nearly everything.",
        *(Query(quantile(of, "pointsman_win_rate", "route", by="route"), f"{{{{route}}}} p{of * 100:.0f}") for of in (0.1, 0.5, 0.9, 0.99)),
        Query(select("pointsman_threshold", "tenant", "route"), "threshold {{tenant}} {{route}}"),
        unit="percentunit",
        top=1,
        width=12,
        dashed="^threshold",
    ),
]

MONEY = [
    row("Money and quality"),
    series(
        "Cost of routed requests and of the best model",
        "USD an hour: what routed requests cost, and what the same tokens of the pool's best model would have. The"
        " distance is what routing saves.",
        Query(f"3600 * sum(rate({select('pointsman_routed_cost_usd_total', 'tenant')}[$__rate_interval]))", "routed"),
        Query(f"3600 * sum(rate({select('pointsman_routed_best_cost_usd_total', 'tenant')}[$__rate_interval]))", "best model"),
        unit="currencyUSD",
        dashed="^best",
    ),
    series(
        "Quality given up by tenant",
        "By the router's own estimate, over an hour: 0 none, 0.5 every answer is worse than the best model's. If it"
        " rises while the savings do not,"
        " raise strong_share of the tenant or its route.",
        Query('job_tenant:pointsman_routed_quality_given_up:ratio_rate1h{job=~"$job", tenant=~"$tenant"}', "{{tenant}}"),
        unit="percentunit",
        thresholds=LOST,
    ),
    table(
        "Savings by tenant",
        "In the time shown. A tenant that saves nothing has a pool of one price, or a share near 1. Requests are"
        " those that were answered, and whose"
        " model a router had scored.",
        Column("Requests", by_tenant("pointsman_routed_requests_total"), "short"),
        Column("Cost", tenant_cost, "currencyUSD"),
        Column("Best model's cost", tenant_best, "currencyUSD"),
        Column("Saved", f"{tenant_best} - {tenant_cost}", "currencyUSD", falling((0, "green"))),
        Column("Saved share", f"1 - {tenant_cost} / {tenant_best}", "percentunit", falling((0, "green"))),
        Column("Quality given up", tenant_given_up, "percentunit", LOST),
        labels={"tenant": "Tenant"},
        width=8,
    ),
]

HEALTH = [
    row("Are the routers well?"),
    series(
        "Drift",
        "Population stability index of the latest 1,000 win rates against the artefact's calibration sample. Below"
        " 0.1 is none; above 0.25 shares and"
        " budgets no longer hold: solve them on prompts like yours with pointsman calibrate --prompts.",
        Query(select("pointsman_win_rate_drift", "tenant", "route"), "{{tenant}} {{route}}"),
        unit="none",
        thresholds=steps((0.1, YELLOW), (0.25, RED)),
    ),
    series(
        "Failing open by reason",
        "Decisions that a router did not make; the tenant's default model answered. timeout, overloaded: the machine"
        " is too small or the route's timeout"
        " too short; error, panic: see the log; unrated: give the pool's models rated_as or elo.",
        Query(rate("pointsman_fail_open_total", "route", by="route, reason"), "{{route}} {{reason}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Share of decisions that failed open",
        "Over five minutes. Above 5 % the alert PointsmanRouterFailingOpen speaks: those requests cost or lack what"
        " the default model does.",
        Query('job_route:pointsman_fail_open:ratio_rate5m{job=~"$job", route=~"$route"}', "{{route}}"),
        unit="percentunit",
        thresholds=steps((0.05, RED)),
    ),
    series(
        "Decision time by router",
        "From the parsed request to the chosen model. Compare it with the route's timeout: what is slower fails"
        " open. mf takes microseconds, a router"
        " that reads an encoder milliseconds.",
        *recorded("job_router:pointsman_decision_seconds:quantile_rate5m", by="router"),
        unit="s",
    ),
    series(
        "Waiting for a router's thread",
        "Part of the decision time, of routers that have a thread of their own. When it is most of it, the thread is"
        " busy: more gateways, a shorter"
        " routing_text_chars, or a quicker router.",
        *by_quantile("pointsman_router_queue_seconds", by="router"),
        unit="s",
    ),
    table(
        "Artefacts",
        "What each route's router is made of, and by how many gateways. Two versions for one route: a fleet that has"
        " not been reloaded everywhere.",
        Column(
            "Gateways",
            f"count by (route, router, version) ({select('pointsman_artifact_info', 'route')})",
            "short",
            steps((1, ORANGE), base="green")[:1],
        ),
        labels={"route": "Route", "router": "Router", "version": "Version"},
        width=8,
    ),
]

DASHBOARD = dashboard(
    "pointsman-routing",
    "pointsman / Routing",
    "Where requests are sent, what that saves, what it gives up, and whether the routers are well.",
    [JOB, TENANT, ROUTE, MODEL],
    [*GLANCE, *DECISIONS, *MONEY, *HEALTH],
)
