"""Requests that no well-made client sends, and upstreams that answer nonsense.

Each gets a clear error in OpenAI's form and is counted once; afterwards the gateway answers as before.
"""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

import gateway as stand
from conftest import user
from wire import Answer, Wire, head, is_openai_error, usual_headers

PATH = "/v1/chat/completions"
GOOD = json.dumps({"model": "small", "messages": user("hi")}).encode()
LIMIT_BYTES = 32 << 20


@pytest.fixture(autouse=True)
def goes_on(gateway, upstream, post):
    """After every test of this file the gateway still answers."""
    yield
    upstream.reset()
    assert post(GOOD).status == 200
    assert gateway.process.poll() is None


@pytest.fixture
def refused(upstream, outcomes):
    """Expects what `send` gives to be an error of this status, counted as the client's, unseen upstream."""

    def check(send, status: int | tuple[int, ...]) -> dict:
        with outcomes(outcome="client_error"):
            answer = send()
            assert answer.status in ((status,) if isinstance(status, int) else status), answer.body[:300]
            error = is_openai_error(answer)
        assert answer.headers.get("x-request-id"), "every answer can be named in a report"
        assert upstream.take() == []
        return error

    return check


def on_wire(gateway, data: bytes) -> Answer:
    """Sends bytes as they are and reads the answer."""
    with Wire(gateway.port) as wire:
        wire.send(data)
        return wire.answer()


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


def test_unknown_path_and_method(gateway, refused, post):
    refused(lambda: post(GOOD, "/v1/nonesuch"), 404)
    refused(lambda: post(GOOD, "/"), 404)
    refused(lambda: on_wire(gateway, head(PATH, usual_headers(stand.KEY), "GET")), 405)
    refused(lambda: on_wire(gateway, head(PATH, usual_headers(stand.KEY, 0), "DELETE")), 405)


def test_too_large_by_its_own_words(gateway, refused):
    """The body need not be sent for its length to be refused."""
    data = head(PATH, usual_headers(stand.KEY, 1 << 40)) + GOOD
    refused(lambda: on_wire(gateway, data), 413)


def test_one_byte_too_large(gateway, refused):
    data = head(PATH, usual_headers(stand.KEY, LIMIT_BYTES + 1)) + GOOD
    refused(lambda: on_wire(gateway, data), 413)


def test_too_large_without_saying(gateway, refused):
    """Chunks without end: refused at the limit, without holding more than that."""

    def send() -> Answer:
        headers = {**usual_headers(stand.KEY), "Transfer-Encoding": "chunked"}
        block = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        with Wire(gateway.port) as wire:
            wire.send(head(PATH, headers))
            sent = 0
            while wire.send(block) and sent < 4 * LIMIT_BYTES:
                sent += 1 << 20
            assert sent < 4 * LIMIT_BYTES, "it read on and on"
            return wire.answer()

    refused(send, 413)


@pytest.mark.parametrize("chunked", [False, True])
def test_slow_body(gateway, refused, chunked):
    """The stand's limit is a second. The test does not wait by a clock: it waits for the answer."""
    headers = usual_headers(stand.KEY, None if chunked else len(GOOD))
    body = f"{len(GOOD):x}\r\n".encode() + GOOD[:20] if chunked else GOOD[:20]
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    refused(lambda: on_wire(gateway, head(PATH, headers) + body), 408)


def test_slow_head(start, server):
    program = start(stand.configuration(server.url, "server: {header_timeout: 1s}"))
    with Wire(program.port) as wire:
        wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: gate")
        with contextlib.suppress(ConnectionError):  # or closed without a word: it never was a request
            assert wire.answer().status == 408


def test_a_client_that_leaves_in_the_middle_of_its_body(gateway, upstream):
    with Wire(gateway.port) as wire:
        wire.send(head(PATH, usual_headers(stand.KEY, len(GOOD))) + GOOD[:10])
    assert upstream.take() == []


BOMBS = {
    "one long": {"X-Bomb": "a" * (1 << 20)},
    "a long name": {"X-" + "a" * (1 << 20): "1"},
    "many": {f"X-Bomb-{number}": "a" for number in range(20_000)},
}


@pytest.mark.parametrize("headers", BOMBS.values(), ids=BOMBS.keys())
def test_header_bomb(gateway, refused, headers):
    refused(lambda: on_wire(gateway, head(PATH, {**usual_headers(stand.KEY, len(GOOD)), **headers}) + GOOD), 431)


def test_a_long_request_line(gateway, refused):
    refused(lambda: on_wire(gateway, head("/v1/" + "a" * (1 << 20), usual_headers(stand.KEY))), (414, 431))


SMUGGLED = head(PATH, usual_headers(stand.KEY, len(GOOD))) + GOOD
CHUNKED = f"{len(GOOD):x}\r\n".encode() + GOOD + b"\r\n0\r\n\r\n"


def framed(*lines: str, body: bytes) -> bytes:
    """A request whose length is told by these header lines."""
    start = head(PATH, usual_headers(stand.KEY))[:-2]
    return start + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


LENGTH, TE = f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked"
SMUGGLING = {
    "length and chunks": framed("Content-Length: 5", TE, body=CHUNKED + SMUGGLED),
    "chunks and length": framed(TE, f"Content-Length: {len(CHUNKED)}", body=CHUNKED + SMUGGLED),
    "two lengths": framed(LENGTH, "Content-Length: 5", body=GOOD + SMUGGLED),
    "two lengths in one": framed(f"{LENGTH}, 5", body=GOOD + SMUGGLED),
    "a signed length": framed(f"Content-Length: +{len(GOOD)}", body=GOOD + SMUGGLED),
    "a negative length": framed("Content-Length: -1", body=GOOD + SMUGGLED),
    "a hexadecimal length": framed("Content-Length: 0x10", body=GOOD + SMUGGLED),
    "an endless length": framed("Content-Length: 99999999999999999999999", body=GOOD + SMUGGLED),
    "an unknown coding": framed("Transfer-Encoding: xchunked", body=CHUNKED + SMUGGLED),
    "chunked not last": framed("Transfer-Encoding: chunked, identity", body=CHUNKED + SMUGGLED),
    "chunked hidden by a tab": framed("Transfer-Encoding:\x0bchunked", LENGTH, body=GOOD + SMUGGLED),
    "a space before the colon": framed("Transfer-Encoding : chunked", LENGTH, body=GOOD + SMUGGLED),
    "a folded header": framed("Transfer-Encoding:", " chunked", LENGTH, body=GOOD + SMUGGLED),
    "a chunk size that is none": framed(TE, body=b"zz\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a negative chunk size": framed(TE, body=b"-5\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
    "a chunk size that overflows": framed(TE, body=b"1" + b"0" * 16 + f"{len(GOOD):x}\r\n".encode() + GOOD + SMUGGLED),
    "a chunk longer than its size": framed(TE, body=b"5\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling_reaches_no_upstream(gateway, upstream, name):
    """Two readers would disagree on where the request ends: neither reading goes on, and the connection ends."""
    with Wire(gateway.port) as wire:
        wire.send(SMUGGLING[name])
        assert wire.answer().status in (400, 501)
        assert wire.closed()
    assert upstream.take() == []


@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling_gets_a_clear_error_and_is_counted(gateway, refused, name):
    refused(lambda: on_wire(gateway, SMUGGLING[name]), (400, 501))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"\r\n" * 10_000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 1000,
    ],
)
def test_bytes_that_are_no_http(gateway, data):
    """Answered or hung up on; `goes_on` sees that nothing else happened."""
    with Wire(gateway.port) as wire:
        wire.send(data)
        wire.socket.shutdown(socket.SHUT_WR)
        while wire.socket.recv(1 << 16):
            pass


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
