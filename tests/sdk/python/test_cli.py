"""The command line, as scripts use it: exit statuses, JSON, errors with their place."""

from __future__ import annotations

import json
import os
import subprocess

import gateway as stand


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess:
    """Runs the program to its end."""
    return subprocess.run(
        [stand.BINARY, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_check_config(tmp_path, upstream):
    good = tmp_path / "good.yaml"
    good.write_text(stand.configuration(upstream.url))
    done = run("check-config", good)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "plain" in done.stdout + done.stderr, "it says which models cannot be routed to"
    assert "sk-" not in done.stdout + done.stderr


def test_check_config_tells_every_error_with_its_place(tmp_path, upstream):
    text = stand.configuration(upstream.url)
    text = text.replace("rated_as: gpt-4-1106-preview", "rated_sa: gpt-4-1106-preview", 1)
    text = text.replace("default_route: auto", "default_route: aotu").replace("threshold: 1.0", "threshold: 1.7")
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    done = run("check-config", bad)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    for wrong, hint in (("rated_sa", "rated_as"), ("aotu", "auto"), ("1.7", "threshold")):
        line = next(number for number, content in enumerate(text.splitlines(), 1) if wrong in content)
        assert f"bad.yaml:{line}:" in said, (wrong, said)
        assert hint in said, said


def test_usage_errors_exit_with_2():
    assert run("nonesuch").returncode == 2
    assert run("serve", "--nonesuch").returncode == 2
    assert run("serve", "--config", "/nonexistent/file.yaml").returncode == 1


MODELS = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "claude-2.0"]
ROUTE = ["route", "--router", "mf", "--models", ",".join(MODELS), "--threshold", "0.3", "--format", "json"]


def check_decision(line: str) -> dict:
    """Asserts the form of a printed decision and the laws that can be seen in it."""
    decision = json.loads(line)
    assert {"model", "router", "skills", "win_rates", "excluded", "ranking", "decision_us"} <= set(decision)
    assert decision["router"] == "mf" and decision["model"] in MODELS
    assert set(decision["skills"]) == set(MODELS) == set(decision["ranking"])
    assert decision["ranking"][0] == decision["model"]
    for first in MODELS:
        for second in MODELS:
            if first != second:
                rates = decision["win_rates"]
                assert abs(rates[first][second] + rates[second][first] - 1) < 1e-9
    return decision


def test_route_explains_a_prompt():
    done = run(*ROUTE, "Prove that the square root of two is irrational.")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
    check_decision(done.stdout)


def test_route_does_not_depend_on_the_order_of_models():
    other = [part if part != ",".join(MODELS) else ",".join(reversed(MODELS)) for part in ROUTE]
    first, second = (check_decision(run(*arguments, "hello").stdout) for arguments in (ROUTE, other))
    assert all(first[key] == second[key] for key in ("model", "skills", "ranking", "win_rates"))


def test_route_reads_a_file_of_prompts(tmp_path):
    rows = [{"id": "a", "prompt": "hello"}, {"prompt": ["first turn", "second turn"]}, {"id": "c", "prompt": ""}]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(*ROUTE, "--input", file)
    assert done.returncode == 0, done.stderr
    decisions = [check_decision(line) for line in done.stdout.splitlines()]
    assert len(decisions) == 3 and decisions[0]["id"] == "a" and decisions[2]["id"] == "c"


def test_route_says_which_model_it_does_not_know():
    done = run("route", "--router", "mf", "--models", "gpt-4-1106-preview,nonesuch-9b", "--format", "json", "hi")
    assert done.returncode == 1 or "nonesuch-9b" in json.loads(done.stdout)["excluded"]
    assert "nonesuch-9b" in done.stdout + done.stderr


def test_environment_secrets(tmp_path, upstream):
    """A secret by environment is checked and never printed; a missing one is an error that names it."""
    text = stand.configuration(upstream.url).replace("api_key: sk-upstream-small", 'api_key: "${SUITE_SECRET}"')
    file = tmp_path / "secret.yaml"
    file.write_text(text)
    without = {key: value for key, value in os.environ.items() if key != "SUITE_SECRET"}
    command = [stand.BINARY, "check-config", file]
    missing = subprocess.run(command, env=without, capture_output=True, text=True, timeout=60, check=False)
    assert missing.returncode == 1 and "SUITE_SECRET" in missing.stdout + missing.stderr
    given = {**without, "SUITE_SECRET": "sk-very-secret"}
    found = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0 and "sk-very-secret" not in found.stdout + found.stderr
