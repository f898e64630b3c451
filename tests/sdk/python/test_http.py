"""HTTP as other clients speak it: older versions, pipelines, interim answers, queries."""

from __future__ import annotations

import json

import pytest

import gateway as stand
from conftest import GOOD, user
from wire import Wire, head, post, usual_headers

PATH = "/v1/chat/completions"
STREAMED = json.dumps({"model": "small", "messages": user("hi"), "stream": True}).encode()


def test_continue_is_sent_to_a_client_that_waits_for_it(gateway, upstream):
    """curl waits so with every body over a megabyte."""
    with Wire(gateway.port) as wire:
        wire.send(head(PATH, {**usual_headers(stand.KEY, len(GOOD)), "Expect": "100-continue"}))
        interim = b""
        while not interim.endswith(b"\r\n\r\n"):
            interim += wire.socket.recv(1)
        assert interim.startswith(b"HTTP/1.1 100 ")
        wire.send(GOOD)
        assert wire.answer().status == 200


@pytest.mark.parametrize("body", [GOOD, STREAMED], ids=["whole", "stream"])
def test_http_1_0(gateway, upstream, body):
    """Some proxies speak it by default: the end of the body is the end of the connection, there are no chunks."""
    request = head(PATH, usual_headers(stand.KEY, len(body))).replace(b"HTTP/1.1", b"HTTP/1.0") + body
    with Wire(gateway.port) as wire:
        wire.send(request)
        answer = wire.answer()
        assert answer.status == 200 and "transfer-encoding" not in answer.headers
        assert answer.events()[-1] == "[DONE]" if body is STREAMED else answer.json["model"] == "small"
        assert wire.closed()


def test_requests_in_a_row_over_one_connection(gateway, upstream):
    """Sent before the first was answered: answered in order."""
    bodies = [json.dumps({"model": "small", "messages": user(f"number {n}")}).encode() for n in range(5)]
    data = b"".join(head(PATH, usual_headers(stand.KEY, len(body))) + body for body in bodies)
    with Wire(gateway.port) as wire:
        wire.send(data)
        stream = wire.socket.makefile("rb")
        for number in range(5):
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert stream.read(length).decode().count(f"number {number}") == 1


def test_a_stream_leaves_its_connection_usable(gateway, upstream):
    with Wire(gateway.port) as wire:
        for _ in range(3):
            wire.send(head(PATH, usual_headers(stand.KEY, len(STREAMED))) + STREAMED)
            answer = wire.answer()
            assert answer.complete and answer.events()[-1] == "[DONE]"


def test_a_chunked_request(gateway, upstream):
    headers = {**usual_headers(stand.KEY), "Transfer-Encoding": "chunked"}
    chunks = b"".join(
        f"{len(GOOD[i : i + 9]):X};name=value\r\n".encode() + GOOD[i : i + 9] + b"\r\n" for i in range(0, len(GOOD), 9)
    )
    with Wire(gateway.port) as wire:
        wire.send(head(PATH, headers) + chunks + b"0\r\nX-Trailer: 1\r\n\r\n")
        assert wire.answer().status == 200
    sent = upstream.take_one()
    assert sent.body == GOOD.replace(b'"small"', b'"small-2024-01-01"')
    assert sent.header("transfer-encoding") is None and sent.header("content-length") == str(len(sent.body))


def test_a_query_does_not_hide_the_path(gateway, upstream):
    assert post(gateway.port, f"{PATH}?api-version=1", GOOD, stand.KEY, {}).status == 200


def test_headers_that_must_be_single_are(gateway, upstream):
    """One of each header that must be single."""
    with Wire(gateway.port) as wire:
        wire.send(head(PATH, usual_headers(stand.KEY, len(GOOD))) + GOOD)
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += wire.socket.recv(1 << 16)
    names = [line.split(b":")[0].lower() for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    for name in (b"date", b"content-type", b"content-length", b"x-request-id", b"x-pointsman-model"):
        assert names.count(name) == 1, (name, names)


WAITING = {"Expect": "100-continue"}


@pytest.mark.parametrize(
    ("path", "key", "more", "method", "status"),
    [
        (PATH, None, {}, "POST", 401),
        ("/v1/nonesuch", stand.KEY, {}, "POST", 404),
        (PATH, stand.KEY, {}, "PUT", 405),
        (PATH, stand.KEY, {"Content-Length": str(1 << 40)}, "POST", 413),
        (PATH, stand.KEY, {"Content-Encoding": "gzip"}, "POST", 415),
    ],
)
def test_a_client_that_waits_is_refused_without_its_body(gateway, refused, path, key, more, method, status):
    """No `100 Continue` for a body that nobody wants; whether it comes all the same is not waited for."""

    def send():
        with Wire(gateway.port) as wire:
            wire.send(head(path, {**usual_headers(key, 10), **WAITING, **more}, method))
            answer = wire.answer()
            assert answer.headers["connection"] == "close" and wire.closed()
            return answer

    refused(send, status)


def test_an_absolute_target(gateway, upstream):
    with Wire(gateway.port) as wire:
        wire.send(head(f"http://gateway.test{PATH}", usual_headers(stand.KEY, len(GOOD))) + GOOD)
        assert wire.answer().status == 200


def test_a_chunked_request_with_trailers(gateway, upstream):
    """They are read and dropped, even where they would be framing; the next request begins behind them."""
    headers = {**usual_headers(stand.KEY), "Transfer-Encoding": "chunked", "Trailer": "X-Sum"}
    body = b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n" % (len(GOOD), GOOD)
    with Wire(gateway.port) as wire:
        for _ in range(2):
            wire.send(head(PATH, headers) + body)
            assert wire.answer().status == 200
            received = upstream.take_one()
            assert not {"x-sum", "trailer"} & {key.lower() for key, _ in received.headers}
            assert received.body == GOOD.replace(b'"small"', b'"small-2024-01-01"')


@pytest.mark.parametrize("connection", ["close", "keep-alive, close"])
def test_a_client_that_says_close_gets_it(gateway, upstream, connection):
    with Wire(gateway.port) as wire:
        wire.send(head(PATH, {**usual_headers(stand.KEY, len(GOOD)), "Connection": connection}) + GOOD)
        answer = wire.answer()
        assert answer.status == 200 and answer.headers["connection"] == "close" and wire.closed()


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 200), ("/health/live", 200), (PATH, 405), ("/v1/no", 404)])
def test_head_has_no_body(gateway, upstream, path, status):
    with Wire(gateway.port) as wire:
        wire.send(head(path, usual_headers(stand.KEY), "HEAD") + head("/health/live", usual_headers(None), "GET"))
        text = b""
        while not text.endswith(b'{"status":"live"}'):
            text += wire.socket.recv(1 << 16)
    first, second = text.decode().split("\r\n\r\n", 1)
    assert first.startswith(f"HTTP/1.1 {status} ") and second.startswith("HTTP/1.1 200 OK")


@pytest.mark.parametrize("method", ["OPTIONS", "CONNECT", "TRACE", "PATCH", "BREW"])
@pytest.mark.parametrize(("path", "allowed"), [(PATH, "POST"), ("/v1/models", "GET, HEAD")])
def test_other_methods_are_told_which_are_allowed(gateway, refused, method, path, allowed):
    def send():
        with Wire(gateway.port) as wire:
            wire.send(head(path, usual_headers(stand.KEY), method))
            answer = wire.answer()
            assert answer.headers["allow"] == allowed
            return answer

    refused(send, 405)


def test_nothing_is_tunnelled_or_upgraded(gateway, upstream):
    """CONNECT finds nothing, and an offer to speak another protocol is not taken up."""
    with Wire(gateway.port) as wire:
        wire.send(head("example.com:443", usual_headers(stand.KEY), "CONNECT"))
        assert wire.answer().status == 404
        for protocol in ("websocket", "h2c"):
            headers = {**usual_headers(stand.KEY), "Connection": "upgrade", "Upgrade": protocol}
            wire.send(head("/v1/models", headers, "GET"))
            assert wire.answer().status == 200
