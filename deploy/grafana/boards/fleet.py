"""The row of what gateways share or write beside their requests: the ledger and Redis."""

from __future__ import annotations

from boards.panels import GREEN, RED, Query, row, series, states, steps
from boards.quantiles import QUANTILES
from boards.queries import quantile, rate, select

FLEET = [
    row("Ledger and Redis"),
    series(
        "Ledger: rows and errors",
        "Rows that the ledger's database has taken, and times that it took none. Errors: a full disk, a lock, a"
        " server that is away. Nothing is lost"
        " while the file beside it can be written; see the log for what the database says.",
        Query(rate("pointsman_ledger_rows_total", by="instance"), "rows {{instance}}"),
        Query(rate("pointsman_ledger_errors_total", by="instance"), "errors {{instance}}"),
        unit="ops",
    ),
    series(
        "Ledger: rows beside it",
        "Rows in the spill file, because the database takes none. They go there once it does; meanwhile usage"
        " reports lack them. A number that"
        " only grows needs somebody: look at the database.",
        Query(f"sum by (instance) ({select('pointsman_ledger_spilled')})", "{{instance}}"),
        unit="short",
        thresholds=steps((1, RED)),
    ),
    series(
        "Ledger: time to write",
        "For a transaction. No answer waits for it, but a slow database fills the queue of rows, and requests"
        " without a place in it are refused.",
        *(Query(quantile(of, "pointsman_ledger_write_seconds", by="job"), name) for name, of in QUANTILES.items()),
        unit="s",
    ),
    states(
        "Redis",
        "Whether each gateway has a connection; there with the key redis only. Without it gateways spend their"
        " shares of budgets and keep to their part"
        " of limits: docs/fleet.md says what holds meanwhile.",
        Query(f"min by (instance) ({select('pointsman_redis_up')})", "{{instance}}"),
        {"0": ("away", RED), "1": ("connected", GREEN)},
    ),
    series(
        "Redis: round trips",
        "Most requests ask nobody. Many more round trips than usual: budgets or limits are nearly used, so that shares are small.",
        Query(rate("pointsman_redis_commands_total", by="instance"), "{{instance}}"),
        unit="ops",
        width=12,
    ),
]
