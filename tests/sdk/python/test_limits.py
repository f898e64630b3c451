"""A tenant's limits, as the SDK shows them."""

from __future__ import annotations

import openai
import pytest

import gateway as stand
from conftest import make_client, user

KEY = "sk-limited-key"


@pytest.fixture
def limited(start, upstream):
    """Starts a gateway with one more tenant, under these limits."""

    def begin(limits: str) -> stand.Gateway:
        tenant = f"  limited: {{ keys: [ {{key: {KEY}}} ], pool: [small], default_route: fixed, limits: {limits} }}\n"
        return start(stand.configuration(upstream.url) + tenant)

    return begin


def test_beyond_the_requests_of_a_minute(limited, upstream):
    program = limited("{rpm: 2, tpm: 100000}")
    with make_client(program, api_key=KEY) as client:
        whole = client.chat.completions.with_raw_response.create(model="small", messages=user("hi"))
        assert whole.parse().model == "small"
        assert (whole.headers["x-ratelimit-limit-requests"], whole.headers["x-ratelimit-limit-tokens"]) == ("2", "100000")
        assert whole.headers["x-ratelimit-remaining-requests"] == "1"
        assert whole.headers["x-ratelimit-reset-requests"].endswith("s")
        assert list(client.chat.completions.create(model="small", messages=user("hi"), stream=True))
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="small", messages=user("hi"))
    error, headers = caught.value, caught.value.response.headers
    assert (error.status_code, error.type, error.code, error.param) == (429, "requests", "rate_limit_exceeded", None)
    assert 1 <= int(headers["retry-after"]) <= 30 and headers["x-ratelimit-remaining-requests"] == "0"
    assert len(upstream.take()) == 2
    page = program.metrics()
    assert stand.total(page, "pointsman_limited_total", tenant="limited", limit="requests") == 1
    assert stand.total(page, "pointsman_requests_total", tenant="limited", outcome="limited") == 1


def test_the_sdk_does_not_repeat_what_can_never_pass(limited, upstream):
    program = limited("{rpm: 100, tpm: 1000}")
    with make_client(program, api_key=KEY, max_retries=2) as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="small", messages=user("hi"), max_tokens=5000)
    assert (caught.value.type, caught.value.code) == ("tokens", "rate_limit_exceeded")
    assert stand.total(program.metrics(), "pointsman_limited_total", tenant="limited") == 1
    assert upstream.take() == []


def test_the_sdk_waits_for_its_place(limited, upstream):
    """Whoever leaves a stream frees its place; until then the SDK is told to come back in a second."""
    program = limited("{concurrency: 1}")
    with make_client(program, api_key=KEY, max_retries=1) as client:
        stream = client.chat.completions.create(model="small", messages=user("{{gated}}"), stream=True)
        with stream, pytest.raises(openai.RateLimitError) as caught:
            next(iter(stream))
            client.with_options(max_retries=0).chat.completions.create(model="small", messages=user("hi"))
        assert caught.value.code == "concurrency_limit_exceeded"
        assert client.chat.completions.create(model="small", messages=user("hi")).model == "small"
