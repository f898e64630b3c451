"""PromQL as the dashboards write it: every selector has the dashboard's variables, every rate the interval that Grafana works out.

Knows nothing of panels.
"""

from __future__ import annotations


def select(metric: str, *labels: str) -> str:
    """A selector. `labels` are variables' names (`route` means the chosen routes) or matchers (`router!="static"`)."""
    matchers = ['job=~"$job"']
    for label in labels:
        matchers.append(label if '"' in label else f'{label}=~"${label}"')
    return f"{metric}{{{', '.join(matchers)}}}"


def rate(metric: str, *labels: str, by: str) -> str:
    """How much a second, over the interval that Grafana works out, summed."""
    return f"sum by ({by}) (rate({select(metric, *labels)}[$__rate_interval]))"


def total(metric: str, *labels: str, by: str | None = None) -> str:
    """How much in the time that the dashboard shows."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (increase({select(metric, *labels)}[$__range]))"


def quantile(of: float, metric: str, *labels: str, by: str) -> str:
    """A quantile of a histogram, by the labels `by`."""
    buckets = rate(f"{metric}_bucket", *labels, by=f"le, {by}" if by else "le")
    return f"histogram_quantile({of}, {buckets})"


def or_nothing(expression: str, like: str) -> str:
    """0 where `like` has a series and the expression has none yet: a counter that nobody has used is mostly not there."""
    return f"({expression} or 0 * {like})"
