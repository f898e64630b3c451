"""What operators see: health, metrics, the admin listener, draining, reloading."""

from __future__ import annotations

import signal
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

import gateway as stand
from conftest import make_client, user
from wire import until

OUTCOMES = {"ok", "client_error", "limited", "gateway_error", "upstream_error", "cancelled"}


def fetch(url: str) -> tuple[int, str]:
    """Status and body of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_health(gateway):
    assert fetch(f"{gateway.url}/health/live")[0] == 200
    assert fetch(f"{gateway.url}/health/ready")[0] == 200


def test_every_request_has_one_outcome(client, outcomes):
    labels = {"tenant": "research", "route": "auto", "outcome": "ok"}
    with outcomes(**labels), outcomes():
        client.chat.completions.create(model="auto", messages=user("hi"))


def test_the_chosen_model_is_a_label(client, outcomes):
    with outcomes(tenant="research", model="small", outcome="ok"):
        client.chat.completions.create(model="small", messages=user("hi"))


def test_a_stream_is_counted_once(client, outcomes):
    with outcomes(tenant="research", model="small", outcome="ok"), outcomes():
        list(client.chat.completions.create(model="small", messages=user("hi"), stream=True))


def test_metrics_have_our_prefix_help_and_all_outcomes(gateway, client):
    client.chat.completions.create(model="auto", messages=user("hi"))
    page = gateway.metrics()
    names = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    helped = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP ")}
    assert names and names == helped
    # Our own, and what OpenTelemetry has a name for.
    assert all(name.startswith(("pointsman_", "gen_ai_")) for name in names), names
    series = stand.samples(page, "pointsman_requests_total")
    groups: dict[tuple, set[str]] = {}
    for labels, _ in series:
        groups.setdefault((labels["tenant"], labels["route"], labels["model"]), set()).add(labels["outcome"])
    assert all(outcomes == OUTCOMES for outcomes in groups.values()), groups
    assert all(set(labels) == {"tenant", "route", "model", "outcome"} for labels, _ in series)


def test_histograms_have_no_tenant(gateway, client):
    client.chat.completions.create(model="auto", messages=user("hi"))
    buckets = [line for line in gateway.metrics().splitlines() if "_bucket{" in line]
    assert buckets and not any('tenant="' in line for line in buckets)


def test_unknown_names_make_no_labels(gateway, client):
    """What clients make up never becomes a label: series stay bounded."""
    for number in range(5):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=f"made-up-{number}", messages=user("hi"))
    assert "made-up" not in gateway.metrics()


def test_tokens_and_cost_grow(gateway, client):
    """Whatever their names: a request of 11 and 7 tokens is found in the counters of its model."""

    def counted() -> list[tuple[str, float]]:
        lines = [
            line for line in gateway.metrics().splitlines() if 'tenant="research"' in line and 'model="large"' in line
        ]
        return [(name, float(value)) for name, _, value in (line.rpartition(" ") for line in lines)]

    client.chat.completions.create(model="large", messages=user("hi"))
    before = dict(counted())
    client.chat.completions.create(model="large", messages=user("hi"))
    for _ in until(3):
        grown = {name: value - before[name] for name, value in counted() if value != before[name]}
        if len(grown) >= 4:
            break
    assert {11.0, 7.0} <= set(grown.values()), grown
    cost = (11 * 10.0 + 7 * 30.0) / 1e6
    assert any(abs(value - cost) < 1e-9 for value in grown.values()), grown


def test_secrets_are_nowhere(gateway, client, post):
    client.chat.completions.create(model="small", messages=user("hi"))
    post({"model": "small", "messages": user("hi")}, key="sk-a-wrong-secret")
    seen = gateway.said() + gateway.metrics()
    for secret in (stand.KEY, stand.HASHED_KEY, stand.OPS_KEY, "sk-upstream-", "sk-a-wrong-secret"):
        assert secret not in seen


def test_the_admin_listener_takes_the_metrics(start, server):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = start(stand.configuration(server.url, f"admin_listen: 127.0.0.1:{port}"))
    assert "pointsman_requests_total" in program.metrics(f"http://127.0.0.1:{port}")
    status, page = fetch(f"{program.url}/metrics")
    assert status in (401, 404) and "pointsman_requests_total" not in page, "no client reads an operator's numbers"


def test_sigterm_drains(start, upstream):
    """A stream in flight comes to its end, new connections are refused, then the program ends well."""
    program = start(stand.configuration(upstream.url))
    with make_client(program) as client:
        events = iter(client.chat.completions.create(model="small", messages=user("{{gated}}"), stream=True))
        upstream.wait_requests(1)
        next(events)
        program.process.send_signal(signal.SIGTERM)
        for _ in until(10):
            try:
                socket.create_connection(("127.0.0.1", program.port), timeout=5).close()
            except ConnectionError:
                break
        else:
            pytest.fail("it still takes connections after SIGTERM")
        upstream.release()
        rest = "".join(choice.delta.content or "" for event in events for choice in event.choices)
    assert rest.endswith("after the gate")
    assert program.process.wait(20) == 0


def ask_until(program, key: str, expected: bool) -> bool:
    """Asks with a key until the answer is as expected, for a bounded time."""
    with make_client(program, api_key=key) as client:
        for _ in until(3):
            try:
                client.models.list()
                known = True
            except openai.AuthenticationError:
                known = False
            if known == expected:
                return True
    return False


def test_sighup_reloads_and_a_bad_file_changes_nothing(start, upstream):
    text = stand.configuration(upstream.url)
    program = start(text)
    program.file.write_text(text.replace(stand.KEY, "sk-another-key"))
    program.process.send_signal(signal.SIGHUP)
    assert ask_until(program, "sk-another-key", True) and ask_until(program, stand.KEY, False)
    program.file.write_text("listen: nowhere\nmodels: 5\n")
    program.process.send_signal(signal.SIGHUP)
    program.wait_line(r"(?i)error|invalid|kept|refused")
    assert ask_until(program, "sk-another-key", True) and program.process.poll() is None


def test_a_request_keeps_the_configuration_it_began_with(start, upstream):
    """A reload in the middle of a stream leaves the stream alone."""
    text = stand.configuration(upstream.url)
    program = start(text)
    with make_client(program) as client:
        events = iter(client.chat.completions.create(model="small", messages=user("{{gated}}"), stream=True))
        next(events)
        program.file.write_text(text.replace(stand.KEY, "sk-another-key"))
        program.process.send_signal(signal.SIGHUP)
        assert ask_until(program, "sk-another-key", True)
        upstream.release()
        assert [event.model for event in events][-1] == "small"


def test_many_at_once(gateway, upstream):
    """Thirty-two clients at a time, each with its own answer."""

    def work(number: int) -> list[str]:
        with make_client(gateway) as client:
            answers = []
            for turn in range(5):
                prompt = user(f"client {number} turn {turn}")
                chunks = client.chat.completions.create(model="auto", messages=prompt, stream=True)
                answers.append("".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices))
            return answers

    with ThreadPoolExecutor(32) as pool:
        for number, answers in enumerate(pool.map(work, range(32))):
            assert [answer.split("🚂 ")[1] for answer in answers] == [
                f"client {number} turn {turn}" for turn in range(5)
            ]
    assert len(upstream.take()) == 160
