"""Requests that are wrong as HTTP: too long, too slow, or meant to be read in two ways.

Each gets a clear error in OpenAI's form and is counted once; afterwards the gateway answers as before.
"""

from __future__ import annotations

import contextlib
import socket

import pytest

import gateway as stand
from conftest import GOOD
from wire import Answer, Wire, head, usual_headers

pytestmark = pytest.mark.usefixtures("goes_on")

PATH = "/v1/chat/completions"
LIMIT_BYTES = 32 << 20


def on_wire(gateway, data: bytes) -> Answer:
    """Sends bytes as they are and reads the answer."""
    with Wire(gateway.port) as wire:
        wire.send(data)
        return wire.answer()


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


@pytest.mark.parametrize("codings", [["gzip"], ["zstd"], ["br, identity"], ["identity", "gzip"], [""]])
def test_an_encoded_body(gateway, refused, codings):
    """What cannot be read cannot be routed; a body sent as it is may say so in any case."""
    lines = "".join(f"Content-Encoding: {coding}\r\n" for coding in codings)
    start = head(PATH, usual_headers(stand.KEY, len(GOOD)))[:-2]
    refused(lambda: on_wire(gateway, start + lines.encode() + b"\r\n" + GOOD), 415)
    assert on_wire(gateway, start + b"Content-Encoding: Identity\r\n\r\n" + GOOD).status == 200


@pytest.mark.parametrize("hosts", [0, 2])
def test_not_one_host(gateway, refused, hosts):
    headers = usual_headers(stand.KEY, len(GOOD))
    del headers["Host"]
    start = head(PATH, headers)[:-2] + b"Host: gateway.test\r\n" * hosts
    refused(lambda: on_wire(gateway, start + b"\r\n" + GOOD), 400)


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
    refused(lambda: on_wire(gateway, head("/v1/" + "a" * (1 << 20), usual_headers(stand.KEY))), 414)


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
def test_smuggling(gateway, refused, name):
    """Two readers would disagree on where the request ends: neither reading goes on, and the connection ends."""

    def send() -> Answer:
        with Wire(gateway.port) as wire:
            wire.send(SMUGGLING[name])
            answer = wire.answer()
            assert wire.closed()
            return answer

    refused(send, 400)


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
        with contextlib.suppress(OSError):  # it may have hung up already
            wire.socket.shutdown(socket.SHUT_WR)
            while wire.socket.recv(1 << 16):
                pass
