"""The usual quantiles of a histogram, a query for each."""

from __future__ import annotations

from boards.panels import Query
from boards.queries import quantile

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def by_quantile(metric: str, *labels: str, by: str) -> list[Query]:
    """Of a histogram, by a label."""
    return [Query(quantile(of, metric, *labels, by=by), f"{{{{{by}}}}} {name}") for name, of in QUANTILES.items()]


def recorded(rule: str, *matchers: str, by: str) -> list[Query]:
    """As the recording rule of this name has them, by a label."""
    others = ", ".join(['job=~"$job"', *matchers])
    return [Query(f'{rule}{{{others}, quantile="{of}"}}', f"{{{{{by}}}}} {name}") for name, of in QUANTILES.items()]
