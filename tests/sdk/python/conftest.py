"""What every test of the suite is given: the scripted upstream, a gateway before it, clients, raw sockets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gateway as stand  # noqa: E402  (found through the path above)
import wire  # noqa: E402
from upstream import Upstream  # noqa: E402

CLIENT_SECONDS_MAX = 30.0
GOOD = b'{"model": "small", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture(scope="session")
def server() -> Iterator[Upstream]:
    """The scripted upstream of the whole session."""
    scripted = Upstream()
    yield scripted
    scripted.close()


@pytest.fixture(scope="session")
def gateway(server: Upstream, tmp_path_factory) -> Iterator[stand.Gateway]:
    """The gateway of the whole session: every test also finds out whether the ones before it left it well."""
    file = tmp_path_factory.mktemp("gateway") / "pointsman.yaml"
    extra = "server: {body_timeout: 1s}"
    program = stand.Gateway(file, stand.configuration(server.url, extra))
    yield program
    server.release_all()
    status = program.stop()
    Path(file.parent / "output.txt").write_text(program.said(), encoding="utf-8")
    assert "panicked" not in program.said(), program.said()
    assert status == 0, f"exit status {status} after SIGTERM"


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    """The scripted upstream, with nothing recorded and nothing waiting."""
    server.reset()
    yield server
    server.reset()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., stand.Gateway]]:
    """Starts further gateways, on configurations of their own."""
    running: list[stand.Gateway] = []

    def begin(text: str) -> stand.Gateway:
        running.append(stand.Gateway(tmp_path / f"pointsman-{len(running)}.yaml", text))
        return running[-1]

    yield begin
    for program in running:
        program.process.kill()


def make_client(gateway: stand.Gateway, **options) -> openai.OpenAI:
    """A client of the gateway; it does not retry unless told to, so that what the gateway does is seen."""
    given = {"api_key": stand.KEY, "max_retries": 0, "timeout": CLIENT_SECONDS_MAX, **options}
    return openai.OpenAI(base_url=f"{gateway.url}/v1", **given)


@pytest.fixture
def client(gateway: stand.Gateway, upstream: Upstream) -> Iterator[openai.OpenAI]:
    """A client with the key of the tenant `research`."""
    with make_client(gateway) as made:
        yield made


@pytest.fixture
def ops(gateway: stand.Gateway, upstream: Upstream) -> Iterator[openai.OpenAI]:
    """A client with the key of the tenant `ops`."""
    with make_client(gateway, api_key=stand.OPS_KEY) as made:
        yield made


@pytest.fixture
def vision(gateway: stand.Gateway, upstream: Upstream) -> Iterator[openai.OpenAI]:
    """A client with the key of the tenant `vision`, whose dearest model takes text alone."""
    with make_client(gateway, api_key=stand.VISION_KEY) as made:
        yield made


@pytest.fixture
def post(gateway: stand.Gateway, upstream: Upstream) -> Callable[..., wire.Answer]:
    """Sends bytes, or a value as JSON, to a path of the gateway over a fresh socket."""

    def send(
        body: object, path: str = "/v1/chat/completions", key: str | None = stand.KEY, **headers: str
    ) -> wire.Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return wire.post(gateway.port, path, raw, key, headers)

    return send


@pytest.fixture
def outcomes(gateway: stand.Gateway) -> Callable[..., wire.Growth]:
    """Watches how the counter of requests grows: `with outcomes(outcome="ok"): …` expects one more."""

    def watch(growth: int = 1, **labels: str) -> wire.Growth:
        def read() -> float:
            return stand.total(gateway.metrics(), "pointsman_requests_total", **labels)

        return wire.Growth(read, growth, str(labels))

    return watch


@pytest.fixture
def goes_on(gateway: stand.Gateway, upstream: Upstream, post) -> Iterator[None]:
    """After the test the gateway still answers."""
    yield
    upstream.reset()
    assert post(GOOD).status == 200
    assert gateway.process.poll() is None


@pytest.fixture
def refused(upstream, outcomes):
    """Expects what `send` gives to be an error of this status, counted as the client's, unseen upstream."""

    def check(send: Callable[[], wire.Answer], status: int | tuple[int, ...]) -> dict:
        with outcomes(outcome="client_error"):
            answer = send()
            assert answer.status in ((status,) if isinstance(status, int) else status), answer.body[:300]
            error = wire.is_openai_error(answer)
        assert answer.headers.get("x-request-id"), "every answer can be named in a report"
        assert upstream.take() == []
        return error

    return check


def user(text: str) -> list[dict]:
    """A conversation of one user turn."""
    return [{"role": "user", "content": text}]
