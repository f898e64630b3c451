"""Who spends what, how budgets and limits stand."""

from __future__ import annotations

from boards.dashboard import JOB, MODEL, TENANT, dashboard
from boards.panels import OUTCOMES, RED, YELLOW, Column, Query, bars, row, series, stat, steps, table
from boards.queries import rate, select, total

HOLDER = "tenant, project, key, per"
HOLDERS = {"tenant": "Tenant", "project": "Project", "key": "Key", "per": "Period"}
NAMED = "{{tenant}} {{project}} {{key}} per {{per}}"
USED = steps((0.8, YELLOW), (1, RED))
used = 'job_tenant_project_key_per:pointsman_budget_used:ratio{job=~"$job", tenant=~"$tenant"}'


def budget(gauge: str, whole: str = "max") -> str:
    """A gauge of budgets. Several gateways tell the same of one budget, but for what each holds."""
    return f"{whole} by ({HOLDER}) ({select(f'pointsman_budget_{gauge}_usd', 'tenant')})"


GLANCE = [
    row("At a glance"),
    stat(
        "Spent",
        "In the time shown, at configured prices, failed calls among it.",
        total("pointsman_cost_usd_total", "tenant", "model"),
        unit="currencyUSD",
    ),
    stat(
        "Tokens",
        "Prompts and completions in the time shown.",
        total("pointsman_tokens_total", "tenant", "model"),
        unit="short",
    ),
    stat(
        "Highest use of a budget",
        "Of all budgets of the chosen tenants, now. At 100 % requests are refused until the period ends: raise the"
        " budget, or tell its owner.",
        f"max({used})",
        unit="percentunit",
        thresholds=USED,
    ),
    stat(
        "Budgets nearly used",
        "How many budgets of the chosen tenants are used to 80 % or more now. Which they are stands in the table below.",
        f"count(max by ({HOLDER}) ({used}) >= 0.8) or vector(0)",
        unit="short",
        thresholds=steps((1, YELLOW)),
    ),
    stat(
        "Refused for limits",
        "Requests beyond rpm, tpm or concurrency in the time shown. Refusals for budgets are beside.",
        total("pointsman_limited_total", "tenant"),
        unit="short",
        thresholds=steps((1, YELLOW)),
    ),
    stat(
        "Refused for budgets",
        "Requests in the time shown that a budget has refused, or ended while they were answered.",
        total("pointsman_budget_refused_total", "tenant"),
        unit="short",
        thresholds=steps((1, YELLOW)),
    ),
    stat(
        "Outcome limited",
        "Requests in the time shown that ended as limited: beyond a limit, without budget, or because an upstream limits the gateway.",
        total("pointsman_requests_total", "tenant", "model", 'outcome="limited"'),
        unit="short",
        thresholds=steps((1, YELLOW)),
    ),
]

SPENDING = [
    row("Spending"),
    bars(
        "Top tenants by spending",
        "The ten that spent most in the time shown.",
        Query(f"topk(10, {total('pointsman_cost_usd_total', 'tenant', 'model', by='tenant')})", "{{tenant}}"),
        unit="currencyUSD",
    ),
    series(
        "Cost by tenant",
        "USD an hour, over five minutes. A jump without more requests: another model or longer prompts, see beside.",
        Query('3600 * job_tenant:pointsman_cost_usd:rate5m{job=~"$job", tenant=~"$tenant"}', "{{tenant}}"),
        unit="currencyUSD",
        stack="normal",
    ),
    series(
        "Cost by model",
        "USD an hour of the chosen tenants. When the dearest grows, look at the strong share on the routing dashboard.",
        Query(f"3600 * {rate('pointsman_cost_usd_total', 'tenant', 'model', by='model')}", "{{model}}"),
        unit="currencyUSD",
        stack="normal",
    ),
]

BUDGETS = [
    row("Budgets"),
    table(
        "Budgets",
        "As of now, the most used first when sorted by it. none stands where the budget is the tenant's or the"
        " project's. Held is what requests in flight may still cost."
        " Without Redis each gateway counts for itself, and the highest is shown.",
        Column("Limit", budget("limit"), "currencyUSD"),
        Column("Spent", budget("spent"), "currencyUSD"),
        Column("Held", budget("held", "sum"), "currencyUSD"),
        Column("Left", f"{budget('limit')} - {budget('spent')}", "currencyUSD"),
        Column("Used", f"max by ({HOLDER}) ({used})", "percentunit", USED),
        labels=HOLDERS,
        width=24,
    ),
    series(
        "Budgets: used",
        "What was spent of each budget in its period. A steep line reaches 100 % before the period ends: tell its"
        " owner, raise the budget, or set when_low: cheaper.",
        Query(f"max by ({HOLDER}) ({used})", NAMED),
        unit="percentunit",
        thresholds=USED,
    ),
    series(
        "Budgets: left",
        "What each budget still allows in its period, what is held for requests in flight not taken off.",
        Query(f"{budget('limit')} - {budget('spent')}", NAMED),
        unit="currencyUSD",
    ),
    series(
        "Budgets: refused",
        "Requests that a budget has refused or ended, by tenant. budget_unavailable: the budget is shared, and Redis or the"
        " database cannot be asked.",
        Query(rate("pointsman_budget_refused_total", "tenant", by="tenant, code"), "{{tenant}} {{code}}"),
        unit="reqps",
        stack="normal",
    ),
    table(
        "Budgets: alerts",
        "Levels that budgets have reached since the gateways' start. Each is told once a period; the webhook was sent the same.",
        Column("Times", f"max by ({HOLDER}, level) ({select('pointsman_budget_alerts_total', 'tenant')})", "short"),
        labels={**HOLDERS, "level": "Level"},
        width=8,
    ),
]

LIMITS = [
    row("Limits"),
    series(
        "Refused for limits",
        "Requests beyond requests (rpm), tokens (tpm) or concurrency, by tenant. Always: the limit is too low for"
        " the tenant, or its client does not heed Retry-After.",
        Query(rate("pointsman_limited_total", "tenant", by="tenant, limit"), "{{tenant}} {{limit}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "In flight by tenant",
        "What counts against concurrency, of tenants with limits, all gateways together.",
        Query(f"sum by (tenant) ({select('pointsman_tenant_requests_in_flight', 'tenant')})", "{{tenant}}"),
        unit="short",
    ),
    series(
        "Outcomes",
        "Of the chosen tenants. limited without refusals for limits: a budget is spent, or an upstream limits the gateway.",
        Query(rate("pointsman_requests_total", "tenant", "model", by="outcome"), "{{outcome}}"),
        unit="reqps",
        stack="normal",
        colours=OUTCOMES,
    ),
]

USE = [
    row("Use"),
    series(
        "Requests by tenant",
        "A second, by all outcomes. none: no tenant was recognised, so a key is wrong, has expired or was revoked.",
        Query(rate("pointsman_requests_total", "tenant", "model", by="tenant"), "{{tenant}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Tokens by tenant",
        "A second, prompts and completions. Prompts that outgrow completions by far: long conversations sent whole with each turn.",
        Query(rate("pointsman_tokens_total", "tenant", "model", by="tenant, kind"), "{{tenant}} {{kind}}"),
        unit="short",
        stack="normal",
    ),
    table(
        "Tenants and models",
        "What each tenant asked of each model in the time shown.",
        Column("Tokens", total("pointsman_tokens_total", "tenant", "model", by="tenant, model"), "short"),
        Column("Cost", total("pointsman_cost_usd_total", "tenant", "model", by="tenant, model"), "currencyUSD"),
        labels={"tenant": "Tenant", "model": "Model"},
        width=8,
    ),
]

DASHBOARD = dashboard(
    "pointsman-tenants",
    "pointsman / Tenants",
    "Who spends what, how budgets and limits stand.",
    [JOB, TENANT, MODEL],
    [*GLANCE, *SPENDING, *BUDGETS, *LIMITS, *USE],
)
