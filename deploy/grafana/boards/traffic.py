"""How requests fare, how long they take, and what of that is the gateway's own doing."""

from __future__ import annotations

from boards.dashboard import JOB, MODEL, ROUTE, TENANT, dashboard
from boards.fleet import FLEET
from boards.panels import OUTCOMES, RED, YELLOW, Column, Query, falling, row, series, stat, steps, table
from boards.quantiles import by_quantile, recorded
from boards.queries import quantile, rate, select, total

WHICH = ("tenant", "route", "model")
FAILED = 'outcome=~"gateway_error|upstream_error"'
# What the gateway was to answer: neither at fault nor beyond a limit.
OWED = 'outcome!~"client_error|limited"'
GEN_AI_MODEL = 'gen_ai_request_model=~"$model"'
ERRORS = steps((0.01, YELLOW), (0.05, RED))


GLANCE = [
    row("At a glance"),
    stat(
        "Requests",
        "In the time shown, by all outcomes.",
        total("pointsman_requests_total", *WHICH),
        unit="short",
    ),
    stat(
        "Failed",
        "Requests that ended as gateway_error or upstream_error, of those that were neither refused nor at fault"
        " themselves. When it is high, see outcomes"
        " below, then the dashboard of upstreams.",
        f"{total('pointsman_requests_total', *WHICH, FAILED)} / {total('pointsman_requests_total', *WHICH, OWED)}",
        unit="percentunit",
        thresholds=ERRORS,
    ),
    stat(
        "Added latency, p99",
        "What the gateway adds: from a request's arrival until the first upstream is called, with waiting for limits"
        " and routers. When it is"
        " high, look at the queue, at decision times on the routing dashboard, and at the machine's CPU.",
        'max(job:pointsman_overhead_seconds:quantile_rate5m{job=~"$job", quantile="0.99"})',
        unit="s",
        thresholds=steps((0.05, YELLOW), (0.25, RED)),
    ),
    stat(
        "In flight",
        "Requests admitted and not ended now, streams until their last byte. Compare it with server.max_concurrent_requests.",
        f"sum({select('pointsman_requests_in_flight')})",
        unit="short",
    ),
    stat(
        "Queued",
        "Requests that wait to be admitted now. More than a few for long: the gateway is full. Add gateways, or"
        " raise server.max_concurrent_requests.",
        f"sum({select('pointsman_requests_queued')})",
        unit="short",
        thresholds=steps((1, YELLOW), (50, RED)),
    ),
    stat(
        "Cost",
        "In the time shown, at configured prices.",
        total("pointsman_cost_usd_total", "tenant", "model"),
        unit="currencyUSD",
    ),
]

REQUESTS = [
    row("Requests"),
    series(
        "By outcome",
        "Each request ends in one. client_error: theirs; limited: a limit, a budget or the upstream's rate limit;"
        " gateway_error: ours, see the log;"
        " upstream_error: nobody gave a whole answer; cancelled: the client left, often because it waited too long.",
        Query(rate("pointsman_requests_total", *WHICH, by="outcome"), "{{outcome}}"),
        unit="reqps",
        stack="normal",
        colours=OUTCOMES,
    ),
    series(
        "Error ratio by tenant",
        "gateway_error and upstream_error, of requests that were neither refused nor at fault themselves, over five"
        " minutes. One tenant alone: its pool or"
        " its routes; all: an upstream or the gateway.",
        Query('job_tenant:pointsman_requests_failed:ratio_rate5m{job=~"$job", tenant=~"$tenant"}', "{{tenant}}"),
        unit="percentunit",
        thresholds=ERRORS,
    ),
    series(
        "In flight and queued",
        "By gateway. In flight at its limit with a queue: the gateway is full. One gateway alone: the load balancer does not spread.",
        Query(f"sum by (instance) ({select('pointsman_requests_in_flight')})", "in flight {{instance}}"),
        Query(f"sum by (instance) ({select('pointsman_requests_queued')})", "queued {{instance}}"),
        unit="short",
        dashed="^queued",
    ),
]

LATENCY = [
    row("Latency: what the gateway adds, and what upstreams take"),
    series(
        "Added latency",
        "From a request's arrival until the first upstream is called, over five minutes. Tenths of milliseconds are"
        " usual with mf; more is a router's queue, a limit"
        " or a busy CPU.",
        *recorded("job:pointsman_overhead_seconds:quantile_rate5m", by="job"),
        unit="s",
        thresholds=steps((0.25, RED)),
    ),
    series(
        "Added latency by route, p95",
        "One route alone: its router is slow. See decision times on the routing dashboard.",
        Query(quantile(0.95, "pointsman_overhead_seconds", "route", by="route"), "{{route}}"),
        unit="s",
    ),
    series(
        "Upstream: first byte",
        "From the call to the head of the answer; one that is not streamed is written before. When it rises for one"
        " model, the provider is slow: hedge: true, or another model.",
        *recorded("job_model:pointsman_upstream_first_byte_seconds:quantile_rate5m", 'model=~"$model"', by="model"),
        unit="s",
    ),
    series(
        "Upstream: whole answers",
        "From the call to the end of the answer. It grows with the length of answers: see tokens of a call.",
        *by_quantile("pointsman_upstream_seconds", "model", by="model"),
        unit="s",
    ),
    series(
        "Time to first token",
        "Of streams: from the call to the first content, which is what users wait for. Compare it with timeouts.first_token.",
        *by_quantile("gen_ai_server_time_to_first_token", GEN_AI_MODEL, by="gen_ai_request_model"),
        unit="s",
    ),
    series(
        "Time per output token",
        "Of streams: the mean time between tokens after the first. When it rises with traffic, a server of your own is full.",
        *by_quantile("gen_ai_server_time_per_output_token", GEN_AI_MODEL, by="gen_ai_request_model"),
        unit="s",
    ),
]

TOKENS = [
    row("Tokens and money"),
    series(
        "Tokens in and out",
        "Prompts and completions a second, as reported by upstreams or estimated.",
        Query(rate("pointsman_tokens_total", "tenant", "model", by="kind"), "{{kind}}"),
        unit="short",
    ),
    series(
        "Tokens of a call, p95",
        "As reported. Long prompts cost money and time: look for a tenant whose conversations only grow.",
        Query(
            quantile(0.95, "gen_ai_client_token_usage", GEN_AI_MODEL, by="gen_ai_request_model, gen_ai_token_type"),
            "{{gen_ai_request_model}} {{gen_ai_token_type}}",
        ),
        unit="short",
    ),
    series(
        "Cost by model",
        "USD an hour at configured prices, over five minutes. A model that is missing has no price. By tenant: the dashboard of tenants.",
        Query('3600 * job_model:pointsman_cost_usd:rate5m{job=~"$job", model=~"$model"}', "{{model}}"),
        unit="currencyUSD",
        stack="normal",
    ),
]

CACHE = [
    row("Kept answers"),
    series(
        "Cache: requests",
        "Of routes with a cache. bypass: the cache was not asked, by cache-control or because such answers are not kept.",
        Query(rate("pointsman_cache_requests_total", "route", by="result"), "{{result}}"),
        unit="reqps",
        stack="normal",
        colours={"hit": "green", "miss": "orange", "bypass": "#8e8e8e"},
    ),
    series(
        "Cache: hit ratio",
        "Hits of hits and misses, over five minutes. Low for long: requests of this route do not repeat, and the"
        " cache can go; or it is too small, see beside.",
        Query('job_route:pointsman_cache_hits:ratio_rate5m{job=~"$job", route=~"$route"}', "{{route}}"),
        unit="percentunit",
        top=1,
        width=4,
    ),
    series(
        "Cache: size",
        "What kept answers take, by route, of all gateways. At max_bytes the oldest answers go before their time.",
        Query(f"sum by (route) ({select('pointsman_cache_bytes', 'route')})", "{{route}}"),
        unit="bytes",
        width=6,
    ),
    series(
        "Cache: answers",
        "How many answers are kept, by route, of all gateways.",
        Query(f"sum by (route) ({select('pointsman_cache_entries', 'route')})", "{{route}}"),
        unit="short",
        width=6,
    ),
]

GATEWAY = [
    row("The gateways"),
    series(
        "Connections",
        "Open connections of clients, by gateway. At server.max_connections new ones wait.",
        Query(f"sum by (instance) ({select('pointsman_connections')})", "{{instance}}"),
        unit="short",
    ),
    series(
        "Connections that ended badly",
        "By reason. A few are usual on the open internet; many from one moment on are a client or a load balancer"
        " that speaks no good HTTP, or TLS that does not fit.",
        Query(rate("pointsman_connections_refused_total", by="reason"), "{{reason}}"),
        unit="ops",
        stack="normal",
    ),
    series(
        "Tasks",
        "Tasks of the asynchronous runtime, by gateway: some for each connection and request. If they only grow"
        " while connections do not, report a bug.",
        Query(f"sum by (instance) ({select('pointsman_tasks')})", "{{instance}}"),
        unit="short",
    ),
    series(
        "Configuration",
        "How many configurations each gateway has had since its start. One that lags behind after a change was refused it: see reloads.",
        Query(f"max by (instance) ({select('pointsman_config_version')})", "{{instance}}"),
        unit="none",
    ),
    series(
        "Files in force",
        "By the beginning of their SHA-256, how many gateways have each. More than one for longer than a roll-out"
        " takes: a gateway has refused the new file, or has not got it.",
        Query(f"sum by (digest) ({select('pointsman_config_info')})", "{{digest}}"),
        unit="none",
    ),
    series(
        "Since the last reload",
        "How long the configuration in force has been so, by gateway.",
        Query(f"time() - max by (instance) ({select('pointsman_config_last_reload_success_timestamp_seconds')})", "{{instance}}"),
        unit="s",
    ),
    series(
        "Reloads",
        "Configurations put in force (ok) or refused (error). After an error the one before is in force: the log and"
        " pointsman check-config say what is wrong.",
        Query(f"sum by (result) (increase({select('pointsman_config_reloads_total')}[$__rate_interval]))", "{{result}}"),
        unit="short",
        colours={"ok": "green", "error": "red"},
    ),
    series(
        "Access log: lines lost",
        "They came faster than they could be written. A slow disk or pipe: write to a file, or to a quicker one. The"
        " ledger is not touched by this.",
        Query(rate("pointsman_access_log_lost_total", by="instance"), "{{instance}}"),
        unit="ops",
        thresholds=steps((0.001, RED)),
    ),
    series(
        "Traces: batches",
        "Batches of spans that the collector has taken (ok) or not (error); there with the key traces only. Errors:"
        " the collector is away or refuses them; the log says why."
        " Spans are lost, requests are not touched.",
        Query(rate("pointsman_trace_exports_total", by="result"), "{{result}}"),
        unit="ops",
        colours={"ok": "green", "error": "red"},
    ),
    table(
        "Versions",
        "Gateways by the version of the program. Two of them for long: a rollout that is stuck.",
        Column("Gateways", f"count by (job, version) ({select('pointsman_build_info')})", "short"),
        labels={"job": "Installation", "version": "Version"},
        width=8,
    ),
    table(
        "Scraped",
        "Whether Prometheus reaches each gateway. 0: it is down, or its admin_listen cannot be reached from here.",
        Column("Up", f"min by (job, instance) ({select('up')})", "none", falling((1, "green"))),
        labels={"job": "Installation", "instance": "Gateway"},
        width=8,
    ),
]

DASHBOARD = dashboard(
    "pointsman-traffic",
    "pointsman / Traffic and latency",
    "How requests fare, how long they take, and what of that is the gateway's own doing.",
    [JOB, TENANT, ROUTE, MODEL],
    [*GLANCE, *REQUESTS, *LATENCY, *TOKENS, *CACHE, *GATEWAY, *FLEET],
)
