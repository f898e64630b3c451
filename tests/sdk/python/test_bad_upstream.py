"""Upstreams that answer nonsense, or far too much: clear errors, one outcome each, little memory."""

from __future__ import annotations

import json

import pytest

from conftest import user
from wire import is_openai_error

pytestmark = pytest.mark.usefixtures("goes_on")

UPSTREAM_NONSENSE = ["html", "html_502", "garbage", "short_body", "cut_before_headers"]


@pytest.mark.parametrize("script", UPSTREAM_NONSENSE)
def test_upstream_nonsense(post, outcomes, script):
    with outcomes(outcome="upstream_error"):
        answer = post({"model": "small", "messages": user(f"{{{{{script}}}}}")})
        assert answer.status == 502
    error = is_openai_error(answer)
    assert "<html" not in error["message"], "a page is no message"


@pytest.mark.parametrize("script", ["html", "html_502", "cut_before_headers", "cut_before_content"])
def test_upstream_nonsense_where_a_stream_should_be(post, outcomes, script):
    with outcomes(outcome="upstream_error"):
        answer = post({"model": "small", "messages": user(f"{{{{{script}}}}}"), "stream": True})
        assert answer.status == 502
    is_openai_error(answer)


def test_upstream_sends_100_mb(gateway, upstream, post):
    """Passed on whole, or refused; never cut and called complete, and never held."""
    before = gateway.memory_peak_bytes()
    answer = post({"model": "small", "messages": user("{{huge}}")})
    if answer.status == 200:
        assert answer.complete and len(answer.json["choices"][0]["message"]["content"]) == 100 << 20
        assert answer.json["model"] in ("small", "small-2024-01-01")
    else:
        assert answer.status == 502 and is_openai_error(answer)
    assert gateway.memory_peak_bytes() - before < 48 << 20


def test_upstream_sends_an_event_of_100_mb(gateway, post):
    """Bounded like everything that is held: an error in the stream, or passed on, within little memory."""
    before = gateway.memory_peak_bytes()
    answer = post({"model": "small", "messages": user("{{huge_event}}"), "stream": True})
    assert answer.status == 200 and answer.complete
    assert gateway.memory_peak_bytes() - before < 48 << 20
    if len(answer.body) > 100 << 20:
        assert answer.events()[-1] == "[DONE]"
    else:
        assert "error" in json.loads(answer.events()[-1]) and "[DONE]" not in answer.events()
