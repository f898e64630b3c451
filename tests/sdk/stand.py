"""The scripted upstream and the gateway together, for suites in other languages.

Prints one line of JSON with addresses and keys, then stays until its standard input is closed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import gateway
from upstream import Upstream


def main() -> None:
    """Starts both, says where they are, waits, stops both."""
    scripted = Upstream()
    with tempfile.TemporaryDirectory() as folder:
        program = gateway.Gateway(Path(folder) / "pointsman.yaml", gateway.configuration(scripted.url))
        try:
            where = {"url": program.url, "control": f"http://127.0.0.1:{scripted.port}/control"}
            keys = {"key": gateway.KEY, "ops_key": gateway.OPS_KEY}
            print(json.dumps({**where, **keys, "pool": gateway.POOL, "routes": gateway.ROUTES}), flush=True)
            sys.stdin.read()
        finally:
            scripted.release_all()
            program.stop()


if __name__ == "__main__":
    main()
