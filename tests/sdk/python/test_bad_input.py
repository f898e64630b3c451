"""Bodies, names and keys that no well-made client sends.

Each gets a clear error in OpenAI's form and is counted once; afterwards the gateway answers as before.
"""

from __future__ import annotations

import pytest

import gateway as stand
from conftest import GOOD, user
from wire import is_openai_error

pytestmark = pytest.mark.usefixtures("goes_on")


MALFORMED = {
    "empty": b"",
    "blank": b"  \n",
    "cut": GOOD[:-1],
    "trailing garbage": GOOD + b"x",
    "two objects": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + b",}",
    "single quotes": b"{'model': 'small'}",
    "a comment": b"/* hi */" + GOOD,
    "NaN": GOOD[:-1] + b', "temperature": NaN}',
    "a bare control character": GOOD.replace(b"hi", b"h\x01i"),
    "a bad escape": GOOD.replace(b"hi", b"h\\xi"),
    "half an escape": GOOD.replace(b"hi", b"\\u12"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "an array": b"[" + GOOD + b"]",
    "a string": b'"hello"',
    "a number": b"5",
    "null": b"null",
    "a form": b"model=small&messages=hi",
    "a leading zero": GOOD[:-1] + b', "n": 01}',
    "a raw NUL in a key": GOOD[:-1] + b', "a\0b": 1}',
    "a NUL behind it": GOOD + b"\0",
    "half a surrogate pair in a key": GOOD[:-1] + b', "a\\udc00": 1}',
    "objects nested without end": b'{"a":' * 100_000,
    "nested too deep": GOOD[:-1] + b', "deep": ' + b"[" * 200_000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_json(post, refused, body):
    assert refused(lambda: post(body), 400)["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/v1/responses"])
def test_malformed_json_on_other_endpoints(post, refused, path):
    refused(lambda: post(b'{"model": "small", ', path), 400)


INVALID_UTF8 = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"]


@pytest.mark.parametrize("raw", INVALID_UTF8, ids=[raw.hex() for raw in INVALID_UTF8])
@pytest.mark.parametrize("place", ["content", "unknown field", "key", "model"])
def test_invalid_utf8(post, refused, raw, place):
    body = {
        "content": GOOD.replace(b'"hi"', b'"' + raw + b'"'),
        "unknown field": GOOD[:-1] + b', "x": "' + raw + b'"}',
        "key": GOOD[:-1] + b', "' + raw + b'": 1}',
        "model": GOOD.replace(b"small", b"small" + raw),
    }[place]
    refused(lambda: post(body), 400)


WRONG_TYPES = {
    "model number": {"model": 5, "messages": user("hi")},
    "model null": {"model": None, "messages": user("hi")},
    "model list": {"model": ["small"], "messages": user("hi")},
    "model missing": {"messages": user("hi")},
    "messages missing": {"model": "small"},
    "messages empty": {"model": "small", "messages": []},
    "messages null": {"model": "small", "messages": None},
    "messages text": {"model": "small", "messages": "hi"},
    "messages object": {"model": "small", "messages": user("hi")[0]},
    "message number": {"model": "small", "messages": [5]},
    "message null": {"model": "small", "messages": [None]},
    "role number": {"model": "small", "messages": [{"role": 5, "content": "hi"}]},
    "stream text": {"model": "small", "messages": user("hi"), "stream": "yes"},
    "stream number": {"model": "small", "messages": user("hi"), "stream": 1},
}
PARAM = {"model": "model", "messages": "messages", "message": "messages", "role": "messages", "stream": "stream"}


@pytest.mark.parametrize("name", WRONG_TYPES)
@pytest.mark.parametrize("model", ["small", "auto"])
def test_wrong_types(post, refused, name, model):
    body = dict(WRONG_TYPES[name])
    if body.get("model") == "small":
        body["model"] = model
    error = refused(lambda: post(body), 400)
    param = PARAM[name.split()[0]]
    assert param in error["message"] and (error["param"] or param).startswith(param), "it says what is wrong"


ODD_VALUES = [
    ("n", "three"), ("n", -1), ("n", 1e99), ("tools", 5), ("tools", [None]), ("response_format", "json"),
    ("response_format", [1]), ("stream_options", 5), ("stream_options", []), ("max_tokens", "many"),
    ("max_completion_tokens", -5), ("messages", [{"role": "user", "content": 5}]), ("messages", [{"role": "user"}]),
    ("messages", [{"role": "user", "content": [5, None, {"type": 7}, {"type": "image_url"}]}]), ("messages", [{}]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), ODD_VALUES, ids=[f"{key}={value}"[:40] for key, value in ODD_VALUES])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_odd_values_are_refused_here_or_upstream(post, key, value, stream):
    """Whoever refuses: the client hears 400, never that the gateway fell over."""
    body = {"model": "auto", "messages": user("hi"), "stream": stream, "user": "{{status_400}}", key: value}
    answer = post(body)
    assert answer.status == 400, answer.body[:300]
    is_openai_error(answer)


DUPLICATES = {
    "plain": GOOD[:-1] + b', "model": "large"}',
    "equal": GOOD[:-1] + b', "model": "small"}',
    "escaped": GOOD[:-1] + b', "mod\\u0065l": "large"}',
    "all escaped": GOOD[:-1] + b', "\\u006d\\u006f\\u0064\\u0065\\u006C": "large"}',
    "escaped first": b'{"\\u006dodel": "large", ' + GOOD[1:],
    "three": GOOD[:-1] + b', "model": "small", "model": "small"}',
    "messages": GOOD[:-1] + b', "messages": [{"role": "user", "content": "other"}]}',
    "stream": GOOD[:-1] + b', "stream": false, "str\\u0065am": true}',
}


@pytest.mark.parametrize("name", DUPLICATES)
def test_duplicate_keys_that_are_read(post, refused, name):
    """Two readers would disagree on which one counts."""
    error = refused(lambda: post(DUPLICATES[name]), 400)
    key = name if name in ("messages", "stream") else "model"
    assert key in error["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/v1/responses"])
def test_duplicate_models_on_other_endpoints(post, refused, path):
    refused(lambda: post(b'{"model": "small", "input": "x", "prompt": "x", "mod\\u0065l": "large"}', path), 400)


def test_an_escaped_model_key_is_a_model_key(post, upstream):
    """Once, it is legal: and it alone is changed."""
    assert post(GOOD.replace(b'"model"', b'"mod\\u0065l"').replace(b'"small"', b'"sm\\u0061ll"')).status == 200
    received = upstream.take_one().body
    assert received == GOOD.replace(b'"model"', b'"mod\\u0065l"').replace(b'"small"', b'"small-2024-01-01"')


@pytest.mark.parametrize("text", [b"\\ud800", b"\\udc00\\ud800", b"\\u0000"])
def test_strange_but_grammatical_strings(post, upstream, text):
    """Lone surrogates are grammatical JSON: forwarded as they are, or refused, but nothing in between."""
    sent = GOOD.replace(b"hi", text)
    answer = post(sent)
    if answer.status == 200:
        assert upstream.take_one().body == sent.replace(b'"small"', b'"small-2024-01-01"')
    else:
        assert answer.status == 400 and is_openai_error(answer)


@pytest.mark.parametrize(
    "value", [b"1e999", b"-1e-999", b"9" * 400, b'{"a\\u0000b": 1}', b"0.1" + b"0" * 400], ids=lambda value: str(value[:9])
)
def test_values_that_no_type_holds_are_forwarded_as_they_are(post, upstream, value):
    """Whoever reads them may judge them."""
    sent = GOOD[:-1] + b', "odd": ' + value + b"}"
    assert post(sent).status == 200
    assert upstream.take_one().body == sent.replace(b'"small"', b'"small-2024-01-01"')


@pytest.mark.parametrize("nested", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_where_something_is_read_depth_is_no_way_in(post, refused, nested):
    refused(lambda: post(b'{"model": "auto", "messages": [{"role": "user", "content": ' + nested + b"}]}"), 400)
    refused(lambda: post(b'{"model": ' + nested + b', "messages": []}'), 400)


def test_deep_but_legal_json(post, upstream):
    sent = GOOD[:-1] + b', "deep": ' + b"[" * 100 + b"]" * 100 + b"}"
    assert post(sent).status == 200
    assert upstream.take_one().body == sent.replace(b'"small"', b'"small-2024-01-01"')


@pytest.mark.parametrize("model", ["nonesuch", "x" * 100_000, "small\u0000", "../small", "{{status_500}}"])
def test_unknown_model(post, refused, model):
    error = refused(lambda: post({"model": model, "messages": user("hi")}), (404, 400))
    assert len(error["message"]) < 2000, "an error does not repeat whatever it was sent"


KEYS = {"wrong": "sk-wrong", "empty": "", "a prefix": stand.KEY[:-1], "longer": stand.KEY + "x", "long": "x" * 10_000}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_wrong_key(post, refused, key):
    assert refused(lambda: post(GOOD, key=key), 401)["code"] == "invalid_api_key"


def test_no_key(post, refused):
    refused(lambda: post(GOOD, key=None), 401)


@pytest.mark.parametrize("value", [stand.KEY, f"Basic {stand.KEY}", "Bearer", f"Bearer{stand.KEY}", "Bearer sk-\xff"])
def test_other_authorization(post, refused, value):
    refused(lambda: post(GOOD, key=None, Authorization=value), (401, 400))


def test_the_scheme_is_not_case_sensitive(post):
    assert post(GOOD, key=None, Authorization=f"bearer {stand.KEY}").status == 200
