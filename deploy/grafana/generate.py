#!/usr/bin/env python3
"""Writes the dashboards. They are generated so that all panels of a kind look alike and every query has the same variables.

    python3 deploy/grafana/generate.py            writes deploy/grafana/dashboards/*.json
    python3 deploy/grafana/generate.py --check    writes nothing, and fails if one of them is not what would be written

Needs Python 3.10 or later and nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from boards import routing, tenants, traffic, upstreams

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = {
    "routing": routing.DASHBOARD,
    "traffic": traffic.DASHBOARD,
    "tenants": tenants.DASHBOARD,
    "upstreams": upstreams.DASHBOARD,
}


def main() -> int:
    """Writes or compares; the exit status."""
    wanted = {f"{name}.json": json.dumps(made, indent=2, ensure_ascii=False) + "\n" for name, made in DASHBOARDS.items()}
    if "--check" in sys.argv[1:]:
        there = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
        stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        for name in stale:
            print(f"{FOLDER / name} is not what generate.py makes: run it")
        return len(stale)
    FOLDER.mkdir(exist_ok=True)
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
