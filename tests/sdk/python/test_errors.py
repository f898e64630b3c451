"""The SDK's typed exceptions, and what becomes of an upstream's failures."""

from __future__ import annotations

import socket

import openai
import pytest

import gateway as stand
from conftest import make_client, user


def ask(client, model: str = "small", prompt: str = "hi", **options):
    """A chat completion; streamed ones are read to their end."""
    answer = client.chat.completions.create(model=model, messages=user(prompt), **options)
    return list(answer) if options.get("stream") else answer


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@STREAM
def test_wrong_key(gateway, upstream, outcomes, stream):
    with make_client(gateway, api_key="sk-wrong") as client, outcomes(outcome="client_error"):
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(client, stream=stream)
    assert caught.value.status_code == 401 and caught.value.code == "invalid_api_key"
    assert "sk-wrong" not in str(caught.value), "no secrets in errors"
    assert upstream.take() == []


@STREAM
def test_unknown_model(client, upstream, outcomes, stream):
    with outcomes(outcome="client_error"), pytest.raises(openai.NotFoundError) as caught:
        ask(client, "nonesuch", stream=stream)
    assert caught.value.code == "model_not_found" and "nonesuch" in caught.value.message
    assert upstream.take() == []


@pytest.mark.parametrize(
    "name",
    [
        "router-nonesuch-0.3",
        "router-mf-",
        "router-mf-abc",
        "router-mf-1.5",
        "router-mf--1",
        "router-mf-nan",
        "",
        "Auto",
        " small",
    ],
)
def test_names_that_only_look_like_models(client, upstream, name):
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        ask(client, name)
    assert upstream.take() == []


def test_another_tenants_model_looks_like_no_model(client, post):
    """Nobody can find out which models exist for others."""
    seen = []
    for name in ("private", "nothing"):
        answer = post({"model": name, "messages": user("hi")})
        error = {
            key: value.replace(name, "NAME") if isinstance(value, str) else value
            for key, value in answer.json["error"].items()
        }
        headers = sorted(set(answer.headers) - {"date"})
        seen.append((answer.status, error, headers))
    assert seen[0] == seen[1] and seen[0][0] == 404


@STREAM
def test_rate_limit_with_nothing_to_fall_back_to(client, upstream, outcomes, stream):
    with outcomes(outcome="limited"), pytest.raises(openai.RateLimitError) as caught:
        ask(client, prompt="{{status_429}}", stream=stream)
    assert caught.value.response.headers["retry-after"] == "7"
    assert len(upstream.take()) == 1


def test_rate_limit_falls_back(client, upstream):
    assert ask(client, "fixed", "{{small:status_429}}").model == "large"


@STREAM
def test_bad_request_upstream(client, upstream, stream):
    """The upstream knows what is wrong with the request: its words reach the client."""
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, prompt="{{status_400}}", stream=stream)
    assert caught.value.code == "context_length_exceeded" and "scripted 400" in caught.value.message
    assert len(upstream.take()) == 1


def test_bad_request_here(client, upstream):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=[])
    assert caught.value.type == "invalid_request_error"
    assert upstream.take() == []


@STREAM
@pytest.mark.parametrize("status", [401, 403, 404])
def test_our_misconfiguration_is_not_the_clients(client, upstream, outcomes, status, stream):
    with outcomes(outcome="upstream_error"), pytest.raises(openai.InternalServerError) as caught:
        ask(client, prompt=f"{{{{status_{status}}}}}", stream=stream)
    assert caught.value.status_code == 502
    assert "sk-upstream" not in str(caught.value.body)


FAILURES = [
    "status_401",
    "status_403",
    "status_404",
    "status_429",
    "status_500",
    "status_503",
    "cut_before_headers",
    "html",
    "html_502",
    "garbage",
    "short_body",
]


@pytest.mark.parametrize("script", FAILURES)
def test_fallback_of_a_whole_answer(client, upstream, outcomes, script):
    with outcomes(outcome="ok"):
        raw = client.chat.completions.with_raw_response.create(model="fixed", messages=user(f"{{{{small:{script}}}}}"))
    assert raw.parse().model == "large" and raw.parse().choices[0].message.content.startswith("large answers")
    assert raw.headers["x-pointsman-model"] == "large" and raw.headers["x-pointsman-attempts"] == "2"
    assert [request.upstream for request in upstream.take()] == ["small", "large"]


STREAM_FAILURES = [
    "status_500",
    "status_429",
    "cut_before_headers",
    "cut_before_content",
    "error_before_content",
    "html",
]


@pytest.mark.parametrize("script", STREAM_FAILURES)
def test_fallback_before_the_first_token(client, upstream, outcomes, script):
    """The client sees nothing of the first attempt."""
    with outcomes(outcome="ok"):
        chunks = ask(client, "fixed", f"{{{{small:{script}}}}}", stream=True)
    assert {chunk.model for chunk in chunks} == {"large"}
    assert sum(chunk.choices[0].delta.role == "assistant" for chunk in chunks) == 1
    assert [request.upstream for request in upstream.take()] == ["small", "large"]


@pytest.mark.parametrize("failing", ["small", "large", "placed"])
def test_fallback_goes_down_the_routers_ranking(client, upstream, failing):
    """Whichever is chosen first: if it fails, another of the pool answers, and no model is asked twice."""
    answer = ask(client, "auto", f"{{{{{failing}:status_500}}}} Explain the proof of Fermat's last theorem.")
    assert answer.model != failing
    asked = [request.upstream for request in upstream.take()]
    assert asked[-1] == answer.model and len(asked) == len(set(asked))


@STREAM
def test_fallback_from_a_model_that_is_down(client, upstream, stream):
    answer = ask(client, "after_down", stream=stream)
    assert (answer[0] if stream else answer).model == "large"
    assert upstream.take_one().upstream == "large"


@STREAM
def test_a_model_that_is_down_by_its_own_name(client, outcomes, stream):
    with outcomes(outcome="upstream_error"), pytest.raises(openai.InternalServerError) as caught:
        ask(client, "down", stream=stream)
    assert caught.value.status_code in (502, 503, 504)


@STREAM
@pytest.mark.parametrize("script", ["status_500", "cut_before_headers", "html"])
def test_when_all_fail_one_error_and_no_retries_by_the_sdk(gateway, upstream, outcomes, script, stream):
    """The SDK would retry twice, and multiply our attempts: the gateway tells it not to."""
    with make_client(gateway, max_retries=2) as client, outcomes(outcome="upstream_error"):
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, "fixed", f"{{{{{script}}}}}", stream=stream)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert [request.upstream for request in upstream.take()] == ["small", "large"]


@STREAM
def test_a_model_that_takes_too_long(client, upstream, outcomes, stream):
    with outcomes(outcome="upstream_error"), pytest.raises(openai.InternalServerError) as caught:
        ask(client, "hasty", "{{silent}}", stream=stream)
    assert caught.value.status_code == 504
    assert upstream.wait_left().upstream == "hasty", "it is not kept busy for nobody"


@STREAM
def test_fallback_from_a_model_that_takes_too_long(client, upstream, stream):
    answer = ask(client, "after_hasty", "{{hasty:silent}}", stream=stream)
    assert (answer[0] if stream else answer).model == "large"
    assert upstream.wait_left().upstream == "hasty"


def test_a_redirect_is_not_followed(client, upstream):
    """It would carry the gateway's key to wherever the upstream says."""
    with pytest.raises(openai.InternalServerError):
        ask(client, prompt="{{small:redirect}}")
    assert [request.upstream for request in upstream.take()] == ["small"]


def test_connections_that_an_upstream_closed_lose_no_request(client):
    """The close may cross the next request on the wire: then that attempt fails, and the next-best model answers."""
    for _ in range(50):
        assert ask(client, "fixed", "{{small:hang_up_after}}").model in ("small", "large")


def test_a_stream_whose_models_all_fail_before_a_token_is_an_http_error(post):
    answer = post({"model": "small", "messages": user("{{cut_before_content}}"), "stream": True})
    assert answer.status == 502 and answer.json["error"]["message"]


def test_a_whole_answer_cut_short_is_an_error(client, outcomes):
    with outcomes(outcome="upstream_error"), pytest.raises(openai.APIError):
        ask(client, prompt="{{short_body}}")


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=stand.KEY, max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError):
            ask(client)


def test_permission_errors_do_not_exist(client, ops):
    """A tenant without a model gets the same 404 as for no model at all, never a 403."""
    with pytest.raises(openai.NotFoundError):
        ask(ops, "large")
