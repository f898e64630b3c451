"""A dashboard around panels: where they are, variables, links to its sisters."""

from __future__ import annotations

from boards.panels import DATASOURCE, Panel

COLUMNS = 24
# The one of Grafana 12; Grafana 11 reads it, too.
SCHEMA_VERSION = 42
TAG = "pointsman"


def dashboard(uid: str, title: str, description: str, variables: list[dict], panels: list[Panel]) -> dict:
    """The JSON model. Panels follow one another from left to right."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "links": [
            {
                "type": "dashboards",
                "title": "pointsman",
                "tags": [TAG],
                "asDropdown": False,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "annotations": {
            "list": [
                {
                    "builtIn": 1,
                    "name": "Annotations & Alerts",
                    "type": "dashboard",
                    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
                    "enable": True,
                    "hide": True,
                    "iconColor": "rgba(0, 211, 255, 1)",
                }
            ]
        },
        "templating": {"list": [_datasource(), *variables]},
        "panels": _placed(panels),
    }


def variable(name: str, label: str, values_of: str, *, of_label: str | None = None) -> dict:
    """A choice among the values of a label, several or all of them."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({values_of}, {of_label or name})", "refId": "PrometheusVariableQueryEditor"},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


JOB = variable("job", "Installation", "pointsman_build_info")
TENANT = variable("tenant", "Tenant", 'pointsman_requests_total{job=~"$job"}')
ROUTE = variable("route", "Route", 'pointsman_requests_total{job=~"$job"}')
MODEL = variable("model", "Model", 'pointsman_breaker_open{job=~"$job"}')


def _datasource() -> dict:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {"selected": True, "text": "prometheus", "value": "prometheus"},
        "options": [],
        "refresh": 1,
    }


def _placed(panels: list[Panel]) -> list[Panel]:
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        size = panel["gridPos"]
        if x + size["w"] > COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append({"id": number, **panel, "gridPos": {"x": x, "y": y, "w": size["w"], "h": size["h"]}})
        x, height = x + size["w"], max(height, size["h"])
    return placed
