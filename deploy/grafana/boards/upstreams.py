"""Whether upstreams answer, and what the gateway does where they do not."""

from __future__ import annotations

from boards.dashboard import JOB, MODEL, dashboard
from boards.panels import GREEN, RED, YELLOW, Column, Query, row, series, stat, states, steps, table
from boards.quantiles import by_quantile, recorded
from boards.queries import or_nothing, rate, select, total

MADE = 'result!="left_alone"'
# By the upstream's fault: not the request's (refused), the client's (cancelled) or a budget's. left_alone was no call.
FAILED = 'result!~"ok|cancelled|refused|left_alone|budget_.*|model_without_price"'
ERRORS = steps((0.05, YELLOW), (0.2, RED))
calls = total("pointsman_attempts_total", "model", MADE)
calls_of_a_model = total("pointsman_attempts_total", "model", MADE, by="model")


def so_far(metric: str, *labels: str) -> str:
    """How much in the time shown, 0 where the counter is not there yet."""
    return or_nothing(total(metric, "model", *labels), calls)


GLANCE = [
    row("At a glance"),
    stat("Calls", "Calls of upstreams in the time shown, retries, fallbacks and second models among them.", calls, unit="short"),
    stat(
        "Failed calls",
        "Of calls that were made: those that failed by the upstream's fault. Clients see only what retries and"
        " fallbacks could not mend; see failures below.",
        f"{so_far('pointsman_attempts_total', FAILED)} / {calls}",
        unit="percentunit",
        thresholds=ERRORS,
    ),
    stat(
        "Left alone now",
        "Models whose breaker is open or being probed. Their requests go to others of the ranking.",
        f"count(max by (job, model) ({select('pointsman_breaker_open', 'model')}) > 0) or vector(0)",
        unit="short",
        thresholds=steps((1, RED)),
    ),
    stat(
        "Fallbacks",
        "Times in the time shown that a request went on to another model. Each is an answer by a model that was not the first choice.",
        so_far("pointsman_fallbacks_total"),
        unit="short",
    ),
    stat(
        "Retries",
        "Calls in the time shown of a model that had failed before in the same request. They are bounded by the route's retry.budget.",
        so_far("pointsman_retries_total"),
        unit="short",
    ),
    stat(
        "Streams rescued",
        "Broken streams in the time shown that another model went on with (stream_recovery).",
        so_far("pointsman_streams_rescued_total"),
        unit="short",
    ),
]

CALLS = [
    row("Calls and failures"),
    series(
        "Calls by model",
        "A second, without those that were not made because the model was left alone.",
        Query('job_model:pointsman_attempts:rate5m{job=~"$job", model=~"$model"}', "{{model}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Calls by result",
        "ok, refused (a 4xx passed on in the upstream's words), cancelled by the client, left_alone (not made), or"
        " the code of the fault: docs/reliability.md says what each is.",
        Query(rate("pointsman_attempts_total", "model", by="result"), "{{result}}"),
        unit="reqps",
        stack="normal",
        colours={"ok": "green", "refused": "blue", "cancelled": "#8e8e8e", "left_alone": "purple"},
    ),
    series(
        "Error ratio by model",
        "Failed calls of those made, over five minutes. Above 20 % the alert PointsmanUpstreamFailing speaks. Look"
        " at the failures beside, and at the provider's status page.",
        Query('job_model:pointsman_attempts_failed:ratio_rate5m{job=~"$job", model=~"$model"}', "{{model}}"),
        unit="percentunit",
        thresholds=ERRORS,
    ),
    table(
        "Failures by model and code",
        "In the time shown. upstream_misconfigured: our key, account or address there; rate_limit_exceeded: ask for"
        " more there, or spread; timeouts: see latency; upstream_unreachable: the network.",
        Column("Calls", f"{total('pointsman_attempts_total', 'model', FAILED, by='model, result')} > 0", "short"),
        Column(
            "Of the model's",
            f"{total('pointsman_attempts_total', 'model', FAILED, by='model, result')} / on (model) group_left () {calls_of_a_model} > 0",
            "percentunit",
            ERRORS,
        ),
        labels={"model": "Model", "result": "Code"},
    ),
    states(
        "Breakers",
        "open: left alone after failures; probing: one call at a time is let pass. Open for long: the upstream is"
        " down. Opening and closing: it fails under load, or failures and error_rate are too strict.",
        Query(f"max by (model) ({select('pointsman_breaker_open', 'model')})", "{{model}}"),
        {"0": ("closed", GREEN), "0.5": ("probing", YELLOW), "1": ("open", RED)},
    ),
]

MENDING = [
    row("What the gateway does about it"),
    series(
        "Retries by cause",
        "Calls of a model that has failed before in the same request, by why. Many of one cause: raise that model's"
        " timeouts, or its limits with the provider.",
        Query(rate("pointsman_retries_total", "model", by="model, cause"), "{{model}} {{cause}}"),
        unit="reqps",
        stack="normal",
        width=12,
    ),
    series(
        "Fallbacks by cause",
        "Requests that went on to another model, by the one that they left and why. They change who answers, and what it costs.",
        Query(rate("pointsman_fallbacks_total", "model", by="model, cause"), "{{model}} {{cause}}"),
        unit="reqps",
        stack="normal",
        width=12,
    ),
    series(
        "Hedges",
        "Second models asked beside a late first one (hedge: true). Mostly late: they cost money and help nobody;"
        " mostly first: the first model is too slow.",
        Query(rate("pointsman_hedges_total", "model", by="model, result"), "{{model}} {{result}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Streams rescued",
        "Broken streams, by the model that went on with them. Look for who broke them among the failures:"
        " upstream_truncated and timeouts between tokens.",
        Query(rate("pointsman_streams_rescued_total", "model", by="model"), "{{model}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Calls not made",
        "Because the model was left alone, by its breaker, its health check or a shared pause.",
        Query(rate("pointsman_attempts_total", "model", 'result="left_alone"', by="model"), "{{model}}"),
        unit="reqps",
        stack="normal",
    ),
]

LATENCY = [
    row("Latency and usage"),
    series(
        "First byte",
        "From the call to the head of the answer, over five minutes. A rising p99 comes before timeouts: hedge: true, or another model.",
        *recorded("job_model:pointsman_upstream_first_byte_seconds:quantile_rate5m", 'model=~"$model"', by="model"),
        unit="s",
    ),
    series(
        "Whole answers",
        "From the call to the end of the answer.",
        *by_quantile("pointsman_upstream_seconds", "model", by="model"),
        unit="s",
    ),
    series(
        "Answers without reported usage",
        "By model and reason; their tokens are estimated, and so is what they cost. missing: the upstream does not"
        " report (usage: as_is, or a server that knows no stream_options);"
        " truncated and cancelled go with broken streams and clients that leave.",
        Query(rate("pointsman_usage_estimated_total", "model", by="model, reason"), "{{model}} {{reason}}"),
        unit="reqps",
        stack="normal",
    ),
    series(
        "Share of answers without usage",
        "missing, of answers that came whole, over fifteen minutes. Above 5 % the alert PointsmanUsageMissing"
        " speaks: budgets and reports rest on estimates then.",
        Query('job_model:pointsman_usage_missing:ratio_rate15m{job=~"$job", model=~"$model"}', "{{model}}"),
        unit="percentunit",
        thresholds=steps((0.05, YELLOW)),
        width=12,
    ),
    table(
        "Models",
        "Calls, tokens and cost of each model in the time shown. A model that is never called may leave its pools.",
        Column("Calls", calls_of_a_model, "short"),
        Column("Cost", total("pointsman_cost_usd_total", "model", by="model"), "currencyUSD"),
        Column("Tokens", total("pointsman_tokens_total", "model", by="model"), "short"),
        labels={"model": "Model"},
    ),
]

DASHBOARD = dashboard(
    "pointsman-upstreams",
    "pointsman / Upstreams",
    "Whether upstreams answer, and what the gateway does where they do not.",
    [JOB, MODEL],
    [*GLANCE, *CALLS, *MENDING, *LATENCY],
)
