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
