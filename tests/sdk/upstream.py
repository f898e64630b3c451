"""A scripted OpenAI-compatible upstream on a port of its own, which keeps every request byte for byte.

One server plays many upstreams: the first segment of the path is the upstream's name, so a base URL is
`http://127.0.0.1:PORT/NAME/v1`. How it behaves is written in the request itself: a marker `{{script}}` anywhere in the
body asks every upstream for that script (see `scripts.py`), `{{name:script}}` asks only the upstream of that name.
Without a marker it answers well.

Knows nothing of the gateway. Used from Python as `Upstream()`; other languages read `POST /control/take`,
`POST /control/release` and `POST /control/wait_left`.
"""

from __future__ import annotations

import base64
import json
import re
import select
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import scripts

MARKER = re.compile(rb"\{\{(?:([\w-]+):)?(\w+)\}\}")
WAIT_SECONDS_MAX = 20.0


@dataclass
class Recorded:
    """One request as it arrived."""

    upstream: str
    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: bytes
    left: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> dict:
        """The body, parsed."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """A header's value; `None` where it was not sent. A repeated one is joined."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    def plain(self) -> dict:
        """As JSON for other languages."""
        return {
            "upstream": self.upstream,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": {key.lower(): value for key, value in self.headers},
            "body": base64.b64encode(self.body).decode(),
        }


class PeerLeft(Exception):
    """The other side closed its connection while a script was waiting."""


class Exchange:
    """One request and the means to answer it: what scripts are written with."""

    def __init__(self, connection: socket.socket, request: Recorded, server: Upstream):
        self.connection, self.request, self.server = connection, request, server
        self.keep_alive = True

    @property
    def body(self) -> dict:
        """The request's body, parsed."""
        return self.request.json

    @property
    def name(self) -> str:
        """The name of the upstream that was asked."""
        return self.request.upstream

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.connection.sendall(data)

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Sends the status line and the headers."""
        lines = [f"HTTP/1.1 {status} Scripted"] + [f"{key}: {value}" for key, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Sends a whole answer."""
        given = {"content-type": "application/json", "x-upstream-header": self.name, **(headers or {})}
        self.head(status, {"content-length": str(len(body)), **given})
        self.send(body)

    def error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        """Sends an error in OpenAI's form."""
        message = f"scripted {status} from {self.name}"
        error = {"message": message, "type": "scripted_error", "param": None, "code": code}
        self.answer(status, json.dumps({"error": error}).encode(), headers)

    def open_stream(self, content_type: str = "text/event-stream; charset=utf-8") -> None:
        """Begins a streamed answer."""
        self.head(200, {"content-type": content_type, "transfer-encoding": "chunked", "cache-control": "no-cache"})

    def chunk(self, data: bytes) -> None:
        """Sends one piece of a streamed answer."""
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def event(self, value: object, name: str | None = None) -> None:
        """Sends one server-sent event, `value` as JSON (a string as it is)."""
        data = value if isinstance(value, str) else scripts.answers.dumps(value)
        head = f"event: {name}\n" if name else ""
        self.chunk(f"{head}data: {data}\n\n".encode())

    def close_stream(self) -> None:
        """Ends a streamed answer in good order."""
        self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        """Closes the connection where it stands."""
        self.keep_alive = False

    def wait_release(self) -> None:
        """Waits until the test calls `release`, or the other side leaves (`PeerLeft`)."""
        with self.server.gate() as gate:
            ready, _, _ = select.select([self.connection, gate], [], [], WAIT_SECONDS_MAX)
            if gate not in ready:
                raise PeerLeft


class Upstream:
    """The server. `take` gives what arrived since it was last asked."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.changed = threading.Condition()
        self.gates: list[socket.socket] = []
        self.left: list[Recorded] = []
        handler = type("Handler", (_Connection,), {"upstream": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.server_address[1]

    def url(self, name: str) -> str:
        """The base URL under which the upstream of that name is reached."""
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def take(self) -> list[Recorded]:
        """All requests since the last call."""
        with self.changed:
            taken, self.requests = self.requests, []
            return taken

    def take_one(self) -> Recorded:
        """The only request since the last call."""
        taken = self.take()
        assert len(taken) == 1, f"expected one request upstream, got {[(r.upstream, r.path) for r in taken]}"
        return taken[0]

    def reset(self) -> None:
        """Forgets what arrived and frees what still waits."""
        self.release_all()
        with self.changed:
            self.requests, self.left = [], []

    def wait_requests(self, count: int) -> list[Recorded]:
        """Waits until `count` requests have arrived; does not take them."""
        return self._wait(lambda: list(self.requests) if len(self.requests) >= count else None)

    def wait_left(self) -> Recorded:
        """Waits until the other side leaves a request that a script holds, and gives that request."""
        return self._wait(lambda: self.left.pop() if self.left else None)

    def release(self) -> None:
        """Frees one waiting script, once one waits."""
        _free(self._wait(lambda: self.gates.pop(0) if self.gates else None))

    def release_all(self) -> None:
        """Frees all scripts that wait now."""
        with self.changed:
            waiting, self.gates = self.gates, []
        for gate in waiting:
            _free(gate)

    @contextmanager
    def gate(self) -> Iterator[socket.socket]:
        """A socket that becomes readable on release."""
        here, there = socket.socketpair()
        with self.changed:
            self.gates.append(there)
            self.changed.notify_all()
        try:
            yield here
        finally:
            with self.changed:
                self.gates = [gate for gate in self.gates if gate is not there]
            here.close()

    def record(self, request: Recorded) -> None:
        """Keeps a request."""
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()

    def note_left(self, request: Recorded) -> None:
        """Keeps that the other side left."""
        request.left.set()
        with self.changed:
            self.left.append(request)
            self.changed.notify_all()

    def close(self) -> None:
        """Stops listening."""
        self.release_all()
        self.server.shutdown()
        self.server.server_close()

    def _wait(self, ask: Callable):
        with self.changed:
            found = self.changed.wait_for(ask_once := _Once(ask), WAIT_SECONDS_MAX)
            assert found, "the upstream waited in vain"
            return ask_once.value


def _free(gate: socket.socket) -> None:
    with suppress(OSError):  # the script may have given up at this moment
        gate.send(b"!")
    gate.close()


class _Once:
    """Keeps what a condition's predicate gave, so that it is asked no more than needed."""

    def __init__(self, ask: Callable):
        self.ask, self.value = ask, None

    def __call__(self) -> bool:
        self.value = self.ask()
        return self.value is not None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256


class _Connection(socketserver.StreamRequestHandler):
    """Reads one request after the other and plays the script of each."""

    upstream: Upstream
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while (request := self._read()) is not None:
                if request.upstream == "control":
                    self._control(request)
                elif not self._play(request):
                    return
        except (ConnectionError, ValueError, OSError):
            return  # the other side is gone, or speaks no HTTP: nothing to answer

    def _read(self) -> Recorded | None:
        line = self.rfile.readline().decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = []
        while header := self.rfile.readline().decode("utf-8", "surrogateescape").rstrip("\r\n"):
            key, _, value = header.partition(":")
            headers.append((key, value.strip()))
        url = urlsplit(line[1])
        _, name, *rest = url.path.split("/")
        body = self._read_body({key.lower(): value for key, value in headers})
        return Recorded(name, line[0], "/" + "/".join(rest), dict(parse_qsl(url.query)), headers, body)

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _play(self, request: Recorded) -> bool:
        exchange = Exchange(self.connection, request, self.upstream)
        self.upstream.record(request)
        script = scripts.SCRIPTS[_script_name(request)]
        try:
            script(exchange)
        except (PeerLeft, ConnectionError):
            self.upstream.note_left(request)
            return False
        return exchange.keep_alive

    def _control(self, request: Recorded) -> None:
        answer: object = None
        if request.path == "/take":
            answer = [one.plain() for one in self.upstream.take()]
        elif request.path == "/release":
            self.upstream.release()
        elif request.path == "/wait_left":
            answer = self.upstream.wait_left().plain()
        Exchange(self.connection, request, self.upstream).answer(200, json.dumps(answer).encode())


def _script_name(request: Recorded) -> str:
    for name, script in MARKER.findall(request.body):
        if not name or name.decode() == request.upstream:
            return script.decode()
    return "answer"
