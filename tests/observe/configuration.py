"""What the gateways of this suite are told: one of everything that a metric is about."""

from __future__ import annotations

from collections.abc import Callable

RESEARCH, FRUGAL, PROJECT, LIMITED, UNRATED, REMOTE = (
    f"sk-{name}" for name in ("research", "frugal", "project", "limited", "unrated", "remote")
)
BUDGET_USD = 0.004
# USD per million tokens, prompt and answer. The strong and the weak model, whose tokens are counted to the last.
PRICES = {"small": (0.05, 0.05), "large": (10.0, 30.0)}
RATED_AS = {"small": "mixtral-8x7b-instruct-v0.1", "large": "gpt-4-1106-preview"}
# Each for one way to fare. No router knows them.
OTHERS = ["plain", "flaky", "cutting", "mending", "late", "silent", "again"]
REDIS_AWAY = "redis://127.0.0.1:1/0"


def alone(url: Callable[[str], str], database: str) -> str:
    """A gateway with budgets, limits, a cache, routers with and without a thread, and routes over models that fail."""
    models = [_model(name, url, PRICES[name], f"rated_as: {RATED_AS[name]}") for name in PRICES]
    models += [_model(name, url, (1, 1)) for name in OTHERS]
    models += [
        _model("fragile", url, (1, 1), breaker="{failures: 1, open_for: 1h}"),
        # No request with tools can be asked of it.
        _model("texter", url, (1, 1), f"rated_as: {RATED_AS['small']}, features: []"),
    ]
    pool = ", ".join([*PRICES, *OTHERS, "fragile"])
    return f"""
listen: 127.0.0.1:0
database: "sqlite:{database}"
alerts: {{levels: [0.5, 1]}}
models:
{chr(10).join(models)}
routes:
  auto:    {{ router: mf, strong_share: 0.3, timeout: 10s }}
  near:    {{ router: knn, strong_share: 0.5, timeout: 10s }}
  kept:    {{ models: [small], cache: {{}} }}
  simple:  {{ models: [small] }}
  falling: {{ models: [flaky, small], retry: {{max: 0}} }}
  asking:  {{ models: [again], retry: {{max: 1, backoff: 1ms}} }}
  broken:  {{ models: [fragile, small], retry: {{max: 0}} }}
  rescued: {{ models: [cutting, mending], stream_recovery: replay, retry: {{max: 0}} }}
  hedged:  {{ models: [late, small], hedge: true, retry: {{max: 0}} }}
tenants:
  research: {{ keys: [{{key: {RESEARCH}}}], pool: [{pool}], default_route: auto, default_model: small }}
  frugal:
    keys: [{{key: {FRUGAL}}}]
    pool: [large, small]
    default_route: simple
    default_model: small
    # In total: a day or a month could end during the tests.
    budget: {{usd: {BUDGET_USD}, per: total}}
    projects:
      side:
        keys: [{{key: {PROJECT}, name: side-key, budget: {{usd: 1, per: total}}}}]
        budget: {{usd: 2, per: total}}
  limited:
    keys: [{{key: {LIMITED}}}]
    pool: [small]
    default_route: simple
    default_model: small
    limits: {{rpm: 1, tpm: 100000, concurrency: 10}}
  unrated: {{ keys: [{{key: {UNRATED}}}], pool: [texter, plain], default_route: auto, default_model: plain }}
"""


def of_a_fleet(url: Callable[[str], str], redis: str) -> str:
    """A gateway with a Redis, and with a collector of traces that refuses them."""
    return f"""
listen: 127.0.0.1:0
database: none
redis: "{redis}"
traces: "{url("collector")}/traces"
models:
{_model("small", url, PRICES["small"])}
routes:
  fixed: {{ models: [small] }}
tenants:
  remote: {{ keys: [{{key: {REMOTE}}}], pool: [small], default_route: fixed, default_model: small }}
"""


def _model(
    name: str,
    url: Callable[[str], str],
    price: tuple[float, float],
    more: str = "features: [tools, json_schema, vision]",
    # The suite breaks upstreams one after the other: none of them is to be left alone for it.
    breaker: str = "{failures: 1000000, calls_min: 1000000}",
) -> str:
    prices = f"price: {{input: {price[0]}, output: {price[1]}}}"
    return f"  {name}: {{ provider: openai, base_url: '{url(name)}', {prices}, breaker: {breaker}, {more} }}"
