"""The law of bytes and the law of headers, seen from both ends."""

from __future__ import annotations

import json
import re

import openai
import pytest

import gateway as stand
from conftest import user

# Every spelling here is legal JSON that a parse-and-print would change.
ODD = r"""
{ "messages" :[ {"role":"user","content":"caf\u00e9 \ud83d\ude82 \/ naïve 🚂","model":"not this one"} ],
  "temperature": 1.0E+0, "big":123456789012345678901234567890, "small":1e-400, "zero":-0.0, "exact":0.10000000000000000555,
	"model" : "small" , "metadata":{"model":"nor this","stream":true},"same":1,"same":2,
  "empty":{ },"list":[ ],"null":null, "control":"\u0000\u001f\u007f" }
""".encode()


def only_model_changed(sent: bytes, received: bytes, name: bytes, upstream_name: bytes) -> None:
    """Asserts that the bytes are equal but for the value of the top-level `model`."""
    assert received == sent.replace(b'"model" : "' + name + b'"', b'"model" : "' + upstream_name + b'"')


def without_usage(received: bytes) -> bytes:
    """The bytes without the one change that streaming may add, wherever it was put."""
    for added in (b',"stream_options":{"include_usage":true}', b'"stream_options":{"include_usage":true},'):
        if received.count(added) == 1:
            return received.replace(added, b"")
    raise AssertionError(received)


@pytest.mark.parametrize("model", ["small", "auto", "fixed", "router-mf-1"])
def test_forwarded_bytes(post, upstream, model):
    sent = ODD.replace(b'"model" : "small"', b'"model" : "' + model.encode() + b'"')
    assert post(sent).status == 200
    request = upstream.take_one()
    only_model_changed(sent, request.body, model.encode(), f"{request.upstream}-2024-01-01".encode())


def test_forwarded_bytes_of_a_model_with_one_name(post, upstream):
    sent = ODD.replace(b'"model" : "small"', b'"model" : "plain"')
    post(sent)
    assert upstream.take_one().body == sent


def test_forwarded_bytes_of_a_stream(post, upstream):
    sent = ODD.replace(b'"same":1,', b'"stream" : true ,')
    post(sent)
    received = upstream.take_one().body
    only_model_changed(sent, without_usage(received), b"small", b"small-2024-01-01")


def test_forwarded_bytes_of_a_stream_with_options(post, upstream):
    for options, expected in [
        (b'{ "include_usage" : true }', {b'{ "include_usage" : true }'}),
        (b'{ "include_usage" : false , "x":1.0 }', {b'{ "include_usage" : true , "x":1.0 }'}),
        (b'{ "include_usage" : null }', {b'{ "include_usage" : true }'}),
        (
            b'{ "x" : 1.0 }',
            {
                b'{ "x" : 1.0 ,"include_usage":true}',
                b'{"include_usage":true, "x" : 1.0 }',
                b'{ "x" : 1.0,"include_usage":true }',
            },
        ),
        (b"{ }", {b'{ "include_usage":true}', b'{"include_usage":true }', b'{"include_usage":true}'}),
        (b"null", {b'{"include_usage":true}'}),
    ]:
        sent = ODD.replace(b'"same":1,', b'"stream":true,"stream_options" : ' + options + b" ,")
        assert post(sent).status == 200, options
        received = upstream.take_one().body
        found = re.search(rb'"stream_options" : (.*?\}) ,', received)
        assert found and found.group(1) in expected, (options, found and found.group(1))
        only_model_changed(sent, received.replace(found.group(1), options), b"small", b"small-2024-01-01")


def test_a_stream_of_a_model_left_as_it_is_is_forwarded_whole(post, upstream):
    sent = ODD.replace(b'"same":1,', b'"stream":true,').replace(b'"model" : "small"', b'"model" : "plain"')
    post(sent)
    assert upstream.take_one().body == sent


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/completions", b'"prompt":"caf\\u00e9"'),
        ("/v1/embeddings", b'"input":"caf\\u00e9"'),
        ("/v1/responses", b'"input" : [ ]'),
    ],
)
def test_forwarded_bytes_of_other_endpoints(post, upstream, path, field):
    sent = b'{ "x": 1.0E-7, "model" : "small",' + field + b" }"
    assert post(sent, path).status == 200
    only_model_changed(sent, upstream.take_one().body, b"small", b"small-2024-01-01")


def test_what_the_sdk_sends_is_what_arrives(client, upstream):
    raw = client.chat.completions.with_raw_response.create(
        model="small", messages=user("naïve 🚂"), temperature=0.1, extra_body={"future": {"a": [1e-7, "é"]}}
    )
    sent = raw.http_response.request.content
    assert upstream.take_one().body == sent.replace(b'"small"', b'"small-2024-01-01"', 1)


def test_answers_change_in_their_model_alone(post):
    """Values keep their spelling: numbers are compared as text."""

    def spelled(body: bytes) -> dict:
        return json.loads(body, parse_float=str, parse_int=str)

    answer = spelled(post({"model": "small", "messages": user("hi")}).body)
    assert answer["model"] == "small"
    assert answer["x_vendor"] == {
        "tiny": "1.0E-7",
        "long": "12345678901234567890123",
        "slash": "a/b",
        "escaped": "é",
        "null": None,
    }
    assert answer["service_tier"] == "default" and answer["created"] == "1700000000"


def test_a_large_request_goes_through(post, upstream):
    """A few megabytes of images are a usual request."""
    body = {"model": "small", "messages": user("a" * 8_000_000)}
    assert post(body).status == 200
    assert upstream.take_one().json["messages"] == body["messages"]


def test_headers_that_are_never_forwarded(post, upstream):
    own = {
        "Cookie": "session=secret",
        "Accept-Encoding": "gzip, br",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Keep-Alive": "timeout=5",
        "Proxy-Authorization": "Basic c2VjcmV0",
        "TE": "trailers",
        "X-Custom": "kept",
        "OpenAI-Organization": "org-1",
    }
    assert post({"model": "small", "messages": user("hi")}, **own).status == 200
    sent = upstream.take_one()
    for name in ("cookie", "x-hop", "keep-alive", "proxy-authorization", "te"):
        assert sent.header(name) is None, name
    assert sent.header("authorization") == "Bearer sk-upstream-small", "the gateway's key in place of the client's"
    assert sent.header("host") != "gateway.test"
    assert sent.header("accept-encoding") in ("identity", None)
    assert stand.KEY not in str(sent.headers)
    assert sent.header("x-custom") == "kept" and sent.header("openai-organization") == "org-1"
    assert sent.header("x-team") == "search", "the model's own headers"
    assert sent.header("content-type") == "application/json"


def test_answer_headers_that_are_never_passed_on(post):
    answer = post({"model": "small", "messages": user("{{loud_headers}}")})
    assert "x-hop" not in answer.headers and "keep-alive" not in answer.headers
    assert answer.headers["x-pointsman-model"] == "small" and answer.headers["x-pointsman-attempts"] == "1"
    assert answer.headers["openai-processing-ms"] == "7", "others are the upstream's to send"


def test_another_header_for_the_key_and_a_query(client, upstream):
    client.chat.completions.create(model="azure", messages=user("hi"))
    sent = upstream.take_one()
    assert sent.header("api-key") == "sk-upstream-azure" and sent.header("authorization") is None
    assert sent.query == {"api-version": "2024-10-21"}


def test_an_upstream_without_a_key_gets_none(client, upstream):
    client.chat.completions.create(model="placed", messages=user("hi"))
    assert upstream.take_one().header("authorization") is None


def test_answer_headers_of_a_routed_request(client, upstream):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=user("hi"))
    assert raw.headers["x-request-id"] == raw.parse()._request_id
    assert raw.headers["x-pointsman-model"] == raw.parse().model
    assert raw.headers["x-pointsman-route"] == "auto"
    assert raw.headers["x-pointsman-router"] == "mf"
    assert int(raw.headers["x-pointsman-decision-us"]) >= 0
    assert raw.headers["x-pointsman-attempts"] == "1"


@pytest.mark.parametrize("model", ["auto", "small", "fixed"])
def test_answer_headers_of_streams(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=user("hi"), stream=True)
    chunks = list(raw.parse())
    assert raw.headers["x-pointsman-model"] == chunks[0].model
    assert raw.headers["x-pointsman-attempts"] == "1"
    assert raw.headers["x-request-id"]


def test_request_ids_differ_and_errors_have_them(client, post):
    answers = [post({"model": name, "messages": user("hi")}) for name in ("small", "small", "nonesuch")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 3
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nonesuch", messages=user("hi"))
    assert caught.value.request_id


def test_an_answer_encoded_all_the_same_is_readable(client):
    """Decoded or refused: never passed on unread."""
    try:
        answer = client.chat.completions.create(model="small", messages=user("{{gzipped}}"))
    except openai.InternalServerError as refused:
        assert refused.status_code == 502
    else:
        assert answer.choices[0].message.content.startswith("small answers") and answer.model == "small"
