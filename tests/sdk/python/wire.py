"""HTTP/1.1 by hand: requests that no library would send, answers without a library's opinion of them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead

SOCKET_SECONDS_MAX = 20.0
SETTLE_SECONDS_MAX = 3.0


@dataclass
class Answer:
    """An answer as it came; `complete` is false where the connection ended before the body did."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True

    @property
    def json(self) -> dict:
        """The body, parsed."""
        return json.loads(self.body)

    def events(self) -> list[str]:
        """The data of all server-sent events."""
        lines = self.body.decode().replace("\r\n", "\n").split("\n")
        return [line.removeprefix("data:").lstrip(" ") for line in lines if line.startswith("data:")]


class Wire:
    """One connection to the gateway."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SOCKET_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Sends bytes; false where the other side no longer takes them."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def answer(self) -> Answer:
        """Reads one answer."""
        reader = HTTPResponse(self.socket)
        reader.begin()
        headers = {key.lower(): value for key, value in reader.getheaders()}
        pieces, complete = [], True
        try:
            while piece := reader.read1(1 << 20):
                pieces.append(piece)
        except (IncompleteRead, OSError):
            complete = False
        body = b"".join(pieces)
        if "content-length" in headers and len(body) < int(headers["content-length"]):
            complete = False
        return Answer(reader.status, headers, body, complete)

    def closed(self) -> bool:
        """Waits for the other side's end; false where it sends something instead."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def head(path: str, headers: dict[str, str], method: str = "POST") -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1"] + [f"{key}: {value}" for key, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def usual_headers(key: str | None, length: int | None = None) -> dict[str, str]:
    """The headers of a well-made request."""
    headers = {"Host": "gateway.test", "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if length is not None:
        headers["Content-Length"] = str(length)
    return headers


def post(port: int, path: str, body: bytes, key: str | None, headers: dict[str, str], method: str = "POST") -> Answer:
    """One request over a connection of its own."""
    given = {**usual_headers(key, len(body)), **headers}
    with Wire(port) as wire:
        wire.send(head(path, given, method) + body)
        return wire.answer()


def is_openai_error(answer: Answer) -> dict:
    """Asserts that the body is OpenAI's error object and gives it."""
    assert answer.headers.get("content-type", "").startswith("application/json"), (
        answer.status,
        answer.headers,
        answer.body[:300],
    )
    error = answer.json["error"]
    assert set(error) >= {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str) and error["message"], error
    assert isinstance(error["type"], str) and error["type"], error
    assert error["param"] is None or isinstance(error["param"], str), error
    assert error["code"] is None or isinstance(error["code"], str), error
    return error


def until(seconds_max: float) -> Iterator[None]:
    """Turns of a loop that asks again and again, for a bounded time."""
    end = time.monotonic() + seconds_max
    while time.monotonic() < end:
        yield


class Growth:
    """Expects a number to have grown by exactly so much when its block is left.

    The counter is written when a request's body is over, which a client may see a moment earlier: so it is read
    again until it has grown, for a bounded time.
    """

    def __init__(self, read: Callable[[], float], growth: int, what: str):
        self.read, self.growth, self.what = read, growth, what

    def __enter__(self) -> None:
        self.before = self.read()

    def __exit__(self, kind, *_: object) -> None:
        if kind is not None:
            return
        now = self.before
        for _ in until(SETTLE_SECONDS_MAX):
            now = self.read()
            if now - self.before >= self.growth:
                break
        assert now - self.before == self.growth, f"{self.what}: {self.before} before, {now} after"
