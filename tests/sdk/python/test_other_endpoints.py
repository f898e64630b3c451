"""Completions, embeddings, responses and the list of models through the official SDK."""

from __future__ import annotations

import openai
import pytest

import gateway as stand
from wire import post as raw_post


def test_completions(client, upstream):
    answer = client.completions.create(model="small", prompt="Once upon", max_tokens=5, extra_body={"suffix_mode": "x"})
    assert answer.choices[0].text == "small answers: naïve 🚂 Once upon"
    assert answer.model == "small"
    sent = upstream.take_one()
    assert sent.path == "/v1/completions"
    assert sent.json == {"model": "small-2024-01-01", "prompt": "Once upon", "max_tokens": 5, "suffix_mode": "x"}


def test_streamed_completions(client, upstream):
    chunks = list(client.completions.create(model="small", prompt="Once upon", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "small answers: naïve 🚂 Once upon"
    assert {chunk.model for chunk in chunks} == {"small"}
    assert upstream.take_one().json["stream_options"] == {"include_usage": True}


def test_streamed_completions_with_usage(client):
    options = {"include_usage": True}
    chunks = list(client.completions.create(model="small", prompt="Once", stream=True, stream_options=options))
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 18


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(client, upstream, encoding):
    answer = client.embeddings.create(model="small", input=["one", "two"], encoding_format=encoding)
    assert len(answer.data) == 2 and answer.model == "small" and answer.usage.total_tokens == 5
    if encoding == "float":
        assert answer.data[1].embedding == [1.5, -0.25, 0.125]
    sent = upstream.take_one()
    assert sent.path == "/v1/embeddings"
    assert sent.json == {"model": "small-2024-01-01", "input": ["one", "two"], "encoding_format": encoding}


def test_embeddings_as_the_sdk_asks_by_itself(client):
    """It asks for base64 and decodes."""
    assert client.embeddings.create(model="small", input="one").data[0].embedding == [0.5, -0.25, 0.125]


def test_responses(client, upstream):
    answer = client.responses.create(model="small", input="Tell me", extra_body={"future": [1e-7]})
    assert answer.output_text == "small answers: naïve 🚂 Tell me"
    assert answer.model == "small"
    sent = upstream.take_one()
    assert sent.path == "/v1/responses"
    assert sent.json == {"model": "small-2024-01-01", "input": "Tell me", "future": [1e-7]}


def test_streamed_responses(client, upstream):
    events = list(client.responses.create(model="small", input="Tell me", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "small answers: naïve 🚂 Tell me" == events[-1].response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    sent = upstream.take_one().json
    assert sent == {"model": "small-2024-01-01", "input": "Tell me", "stream": True}, "no stream_options: refused there"


def test_streamed_responses_name_the_pools_model(client):
    events = list(client.responses.create(model="small", input="Tell me", stream=True))
    assert {event.response.model for event in events if hasattr(event, "response")} == {"small"}


def test_a_cut_stream_of_responses_is_an_error(client, outcomes):
    seen = []
    with outcomes(outcome="upstream_error"), pytest.raises(openai.APIError):
        seen.extend(client.responses.create(model="small", input="{{responses_cut}}", stream=True))
    assert "response.output_text.delta" in {event.type for event in seen}
    assert "response.completed" not in {event.type for event in seen}


@pytest.mark.parametrize("model", ["nonesuch", "private"])
def test_other_endpoints_know_only_the_pool(client, upstream, model):
    for ask in (
        lambda: client.completions.create(model=model, prompt="x"),
        lambda: client.embeddings.create(model=model, input="x"),
        lambda: client.responses.create(model=model, input="x"),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    assert upstream.take() == []


def test_upstream_errors_on_other_endpoints_keep_their_kind(client):
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model="small", prompt="{{status_400}}")
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="small", input="{{status_429}}")
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="small", input="{{status_401}}")


def test_models_are_those_of_the_tenant(client, ops):
    mine = {model.id for model in client.models.list()}
    theirs = {model.id for model in ops.models.list()}
    assert set(stand.POOL) <= mine and mine - set(stand.POOL) <= set(stand.ROUTES)
    assert {"private", "small"} <= theirs and theirs - {"private", "small"} <= set(stand.ROUTES)


def test_models_have_openais_form(client, gateway):
    page = client.models.list()
    assert page.object == "list"
    assert all(model.object == "model" and isinstance(model.created, int) and model.owned_by for model in page.data)


def test_models_need_a_key(gateway):
    answer = raw_post(gateway.port, "/v1/models", b"", None, {}, method="GET")
    assert answer.status == 401 and answer.json["error"]["message"]


def test_one_model(client):
    assert client.models.retrieve("large").id == "large"
    for name in ("private", "nonesuch"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)
