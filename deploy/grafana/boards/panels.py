"""Panels, as objects of Grafana's model. What all panels of a kind have in common stands here and nowhere else.

Knows nothing of metrics, and not where a panel is on its dashboard.
"""

from __future__ import annotations

from dataclasses import dataclass

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
OUTCOMES = {
    "ok": GREEN,
    "client_error": BLUE,
    "limited": YELLOW,
    "gateway_error": "dark-red",
    "upstream_error": ORANGE,
    "cancelled": GREY,
}

Panel = dict


@dataclass(frozen=True)
class Query:
    """PromQL, and what its series are called."""

    expression: str
    legend: str = "__auto"


def steps(*rising: tuple[float, str], base: str = GREEN) -> list[dict]:
    """Thresholds: the colour below the first, then from each value on."""
    return [{"color": base, "value": None}, *({"color": colour, "value": value} for value, colour in rising)]


def falling(*levels: tuple[float, str]) -> list[dict]:
    """Thresholds of what is bad when it is low."""
    return steps(*levels, base=RED)


def series(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    stack: str = "none",
    thresholds: list[dict] | None = None,
    top: float | None = None,
    colours: dict[str, str] | None = None,
    dashed: str | None = None,
) -> Panel:
    """Lines over time. `stack` is `none`, `normal` or `percent`; series whose name has `dashed` in it are drawn so."""
    custom: dict = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 10 if stack == "none" else 40,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": stack, "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
    }
    defaults: dict = {"unit": unit, "min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    if thresholds:
        defaults["thresholds"] = {"mode": "absolute", "steps": thresholds}
    if top is not None:
        defaults["max"] = top
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in (colours or {}).items()
    ]
    if dashed:
        style = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}
        bare = {"id": "custom.fillOpacity", "value": 0}
        overrides.append({"matcher": {"id": "byRegexp", "options": f"/{dashed}/"}, "properties": [style, bare]})
    options = {
        "legend": {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, queries, options, defaults, overrides, (width, 9))


def stat(title: str, description: str, expression: str, *, unit: str, thresholds: list[dict] | None = None, width: int = 4) -> Panel:
    """One number, for the time that the dashboard shows or for now."""
    defaults = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": thresholds or steps(base=BLUE)},
    }
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    return _panel("stat", title, description, (Query(expression),), options, defaults, [], (width, 4), is_instant=True)


def bars(title: str, description: str, query: Query, *, unit: str, width: int = 8, thresholds: list[dict] | None = None) -> Panel:
    """A bar for each series, as of now."""
    defaults = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": thresholds or steps(base=BLUE)},
    }
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "gradient",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
    }
    return _panel("bargauge", title, description, (query,), options, defaults, [], (width, 9), is_instant=True)


@dataclass(frozen=True)
class Column:
    """A column of a table that holds a query's values."""

    title: str
    expression: str
    unit: str
    thresholds: list[dict] | None = None


def table(title: str, description: str, *columns: Column, labels: dict[str, str], width: int = 12) -> Panel:
    """A line for each combination of labels. `labels`, with their titles, come first, then a column for each query."""
    names = [chr(ord("A") + place) for place in range(len(columns))]
    values = {f"Value #{name}" if len(columns) > 1 else "Value": column for name, column in zip(names, columns)}
    overrides = []
    for field, column in values.items():
        properties: list[dict] = [{"id": "unit", "value": column.unit}]
        if column.thresholds:
            properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": column.thresholds}})
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        overrides.append({"matcher": {"id": "byName", "options": column.title}, "properties": properties})
    order = {name: place for place, name in enumerate([*labels, *values])}
    renamed = {**labels, **{field: column.title for field, column in values.items()}}
    arranged = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renamed}
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True}}
    panel = _panel(
        "table",
        title,
        description,
        tuple(Query(column.expression) for column in columns),
        {"showHeader": True, "cellHeight": "sm"},
        defaults,
        overrides,
        (width, 9),
        is_instant=True,
    )
    for target in panel["targets"]:
        target["format"] = "table"
    panel["transformations"] = [{"id": "merge", "options": {}}, {"id": "organize", "options": arranged}]
    return panel


def heatmap(title: str, description: str, query: Query, *, unit: str, width: int = 12) -> Panel:
    """The buckets of a histogram over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    defaults = {"custom": {"scaleDistribution": {"type": "linear"}}}
    panel = _panel("heatmap", title, description, (query,), options, defaults, [], (width, 9))
    panel["targets"][0]["format"] = "heatmap"
    return panel


def states(title: str, description: str, query: Query, named: dict[str, tuple[str, str]], *, width: int = 12) -> Panel:
    """What state each series is in over time. `named` gives the text and the colour of each value."""
    mapped = {value: {"text": text, "color": colour, "index": place} for place, (value, (text, colour)) in enumerate(named.items())}
    defaults = {
        "color": {"mode": "thresholds"},
        "mappings": [{"type": "value", "options": mapped}],
        "custom": {"fillOpacity": 70, "lineWidth": 0},
    }
    options = {
        "alignValue": "left",
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "auto",
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return _panel("state-timeline", title, description, (query,), options, defaults, [], (width, 9))


def row(title: str) -> Panel:
    """A heading over the panels that follow."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: tuple[Query, ...],
    options: dict,
    defaults: dict,
    overrides: list[dict],
    size: tuple[int, int],
    *,
    is_instant: bool = False,
) -> Panel:
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expression,
            "legendFormat": query.legend,
            "instant": is_instant,
            "range": not is_instant,
        }
        for place, query in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": options,
    }
