"""The scripted traffic, and a tally of what each metric must be after it: what clients did and saw, not what the gateway says."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import answers
import configuration as told
import scripts
from waiting import wait_until

import gateway as program
from upstream import Upstream

SECONDS_MAX = 30.0
AUTO_REQUESTS = 80
# So many a round that the alert on failing upstreams takes them seriously.
FALLBACKS = 5
HARD = "Prove that there are infinitely many primes of the form 4k + 3, number {}, and generalise the argument to characters."
EASY = "hi, what is {} plus 2?"
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
PROMPT_TOKENS, ANSWER_TOKENS = answers.USAGE["prompt_tokens"], answers.USAGE["completion_tokens"]


@scripts.script
def four_tokens(x) -> None:
    """What `cut_after_content` begins with, and goes on."""
    scripts.begin(x, 4)
    scripts.finish(x)


class Tally:
    """What must have been counted, by metric and labels."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter] = {}
        self.lock = threading.Lock()

    def add(self, metric: str, by: float = 1, /, **labels: str) -> None:
        """So much more of this."""
        with self.lock:
            self.counts.setdefault(metric, Counter())[frozenset(labels.items())] += by

    def of(self, metric: str, **labels: str) -> float:
        """The sum of a metric over all series with these labels."""
        series = self.counts.get(metric, Counter())
        return sum(count for have, count in series.items() if labels.items() <= dict(have).items())

    def asked(self, model: str, result: str) -> None:
        """A call of a model, and what came of it."""
        self.add("pointsman_attempts_total", model=model, result=result)

    def ended(self, tenant: str, route: str, model: str, outcome: str) -> None:
        """A request, and how it ended."""
        self.add("pointsman_requests_total", tenant=tenant, route=route, model=model, outcome=outcome)

    def decided(self, route: str, router: str, model: str) -> None:
        """A decision."""
        self.add("pointsman_decisions_total", route=route, router=router, model=model)

    def used(self, tenant: str, model: str, prompt: int = PROMPT_TOKENS, answer: int = ANSWER_TOKENS) -> None:
        """Tokens that an upstream has reported, and what they cost. Of other models some are estimated: they are not compared."""
        if model in told.PRICES:
            self.add("pointsman_tokens_total", prompt, tenant=tenant, model=model, kind="prompt")
            self.add("pointsman_tokens_total", answer, tenant=tenant, model=model, kind="completion")
            self.add("pointsman_cost_usd_total", cost(model, prompt, answer), tenant=tenant, model=model)

    def answered(self, tenant: str, route: str, model: str, router: str | None = None) -> None:
        """A request whose first model answered well and reported its usage."""
        self.ended(tenant, route, model, "ok")
        self.asked(model, "ok")
        self.used(tenant, model)
        if router:
            self.decided(route, router, model)


def cost(model: str, prompt: int = PROMPT_TOKENS, answer: int = ANSWER_TOKENS) -> float:
    """What tokens cost, in USD."""
    of_prompt, of_answer = told.PRICES[model]
    return (prompt * of_prompt + answer * of_answer) / 1e6


class Traffic:
    """Sends requests to the gateways, and keeps the tallies of both."""

    def __init__(self, upstream: Upstream, alone: program.Gateway, of_a_fleet: program.Gateway):
        self.upstream, self.alone, self.of_a_fleet = upstream, alone, of_a_fleet
        self.tally, self.fleet_tally = Tally(), Tally()
        self.round = 0

    def steady(self) -> None:
        """What comes again and again: all of it has been counted once this returns."""
        self.round += 1
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._routed, range(AUTO_REQUESTS)))
        for number in range(3):
            self._near(number)
        self._kept()
        self._failing()
        self._streams()
        self._others()
        self._fleet()

    def once(self) -> None:
        """What can be done but once: limits, budgets, late models, clients that leave."""
        self._limited()
        self._budgeted()
        self._hedged()
        self._leaving()
        self._garbage()

    def reloads(self) -> None:
        """A configuration that holds, one that does not, and the first one again."""
        file, text = self.alone.file, self.alone.file.read_text()
        for change, result in [("# changed\n", "ok"), ("nonsense: 1\n", "error"), ("", "ok")]:
            before = self._reloaded(result)
            file.write_text(text + change)
            wait_until(lambda: self._reloaded(result) > before, f"a reload that ends in {result}")
            self.tally.add("pointsman_config_reloads_total", result=result)

    def _reloaded(self, result: str) -> float:
        return program.total(self.alone.metrics(), "pointsman_config_reloads_total", result=result)

    def _routed(self, number: int) -> None:
        text = (HARD if number % 3 == 0 else EASY).format(f"{self.round}.{number}")
        model = self._chat(told.RESEARCH, "auto", text)["x-pointsman-model"]
        self._by_router("auto", "mf", model)

    def _near(self, number: int) -> None:
        model = self._chat(told.RESEARCH, "near", f"{self.round}.{number}")["x-pointsman-model"]
        self._by_router("near", "knn", model)

    def _by_router(self, route: str, router: str, model: str) -> None:
        self.tally.answered("research", route, model, router)
        self.tally.add("pointsman_choices_total", tenant="research", route=route)
        if model == "large":
            self.tally.add("pointsman_strong_decisions_total", tenant="research", route=route)
        self.tally.add("pointsman_routed_requests_total", tenant="research")
        self.tally.add("pointsman_routed_cost_usd_total", cost(model), tenant="research")
        self.tally.add("pointsman_routed_best_cost_usd_total", cost("large"), tenant="research")

    def _kept(self) -> None:
        text = f"keep this, {self.round}"
        for headers, result in [({}, "miss"), ({}, "hit"), ({"cache-control": "no-store"}, "bypass")]:
            self._chat(told.RESEARCH, "kept", text, headers)
            self.tally.add("pointsman_cache_requests_total", route="kept", result=result)
            if result == "hit":
                self.tally.ended("research", "kept", "small", "ok")
            else:
                self.tally.answered("research", "kept", "small", "static")

    def _failing(self) -> None:
        tally = self.tally
        for _ in range(FALLBACKS):
            self._chat(told.RESEARCH, "falling", "{{flaky:status_500}}")
            tally.answered("research", "falling", "small")
            tally.decided("falling", "static", "flaky")
            tally.asked("flaky", "upstream_failed")
            tally.add("pointsman_fallbacks_total", model="flaky", cause="upstream_failed")

        assert self._post(told.RESEARCH, _chat("asking", "{{again:status_503}}"))[0] == 503
        tally.ended("research", "asking", "again", "upstream_error")
        tally.decided("asking", "static", "again")
        tally.asked("again", "upstream_unavailable")
        tally.asked("again", "upstream_unavailable")
        tally.add("pointsman_retries_total", model="again", cause="upstream_unavailable")

        self._chat(told.RESEARCH, "broken", "{{fragile:status_500}}")
        tally.answered("research", "broken", "small")
        tally.decided("broken", "static", "fragile")
        # It is left alone after its first failure, for longer than this takes.
        cause = "upstream_failed" if self.round == 1 else "left_alone"
        tally.asked("fragile", cause)
        tally.add("pointsman_fallbacks_total", model="fragile", cause=cause)

    def _streams(self) -> None:
        tally = self.tally
        self._chat(told.RESEARCH, "small", "in pieces", stream=True)
        tally.answered("research", "direct", "small")

        self._chat(told.RESEARCH, "rescued", "{{cutting:cut_after_content}}{{mending:four_tokens}}", stream=True)
        tally.ended("research", "rescued", "mending", "ok")
        tally.decided("rescued", "static", "cutting")
        tally.asked("cutting", "upstream_truncated")
        tally.asked("mending", "ok")
        tally.used("research", "mending")
        tally.add("pointsman_fallbacks_total", model="cutting", cause="upstream_truncated")
        tally.add("pointsman_streams_rescued_total", model="mending")
        tally.add("pointsman_usage_estimated_total", model="cutting", reason="truncated")

        self._chat(told.RESEARCH, "silent", "{{silent:no_done}}", stream=True)
        tally.ended("research", "direct", "silent", "ok")
        tally.asked("silent", "ok")
        tally.add("pointsman_usage_estimated_total", model="silent", reason="missing")

    def _others(self) -> None:
        tally = self.tally
        assert self._post(told.RESEARCH, {"model": "small", "input": "x"}, path="/v1/embeddings")[0] == 200
        tally.ended("research", "direct", "small", "ok")
        tally.asked("small", "ok")
        tally.used("research", "small", 5, 0)

        assert self._post("sk-wrong", _chat("auto", "x"))[0] == 401
        tally.ended("none", "none", "none", "client_error")
        assert self._post(told.RESEARCH, _chat("no-such-model", "x"))[0] == 404
        tally.ended("research", "none", "none", "client_error")

        self._chat(told.UNRATED, "auto", "what is the weather?", tools=TOOLS)
        tally.answered("unrated", "auto", "plain", "mf")
        tally.add("pointsman_fail_open_total", route="auto", router="mf", reason="unrated")

        self._chat(told.PROJECT, "small", "for the project")
        tally.answered("frugal", "direct", "small")

    def _fleet(self) -> None:
        assert self._post(told.REMOTE, _chat("auto", "from afar"), port=self.of_a_fleet.port)[0] == 200
        self.fleet_tally.answered("remote", "fixed", "small", "static")

    def _limited(self) -> None:
        self._chat(told.LIMITED, "small", "the only one of this minute")
        self.tally.answered("limited", "direct", "small")
        for _ in range(3):
            assert self._post(told.LIMITED, _chat("small", "too many"))[0] == 429
            self.tally.ended("limited", "none", "none", "limited")
            self.tally.add("pointsman_limited_total", tenant="limited", limit="requests")

    def _budgeted(self) -> None:
        """Until the budget does not allow what a request may cost."""
        affordable = int(told.BUDGET_USD / cost("large"))
        for _ in range(affordable):
            status, _, _ = self._post(told.FRUGAL, _chat("large", "count", max_tokens=ANSWER_TOKENS))
            if status == 429:
                break
            assert status == 200
            self.tally.answered("frugal", "direct", "large")
        else:
            raise AssertionError("a budget was overrun")
        self.tally.ended("frugal", "direct", "none", "limited")
        self.tally.add("pointsman_budget_refused_total", tenant="frugal", code="budget_exceeded")
        self.tally.add("pointsman_budget_alerts_total", tenant="frugal", project="none", key="none", per="total", level="0.5")

    def _hedged(self) -> None:
        """Twenty answers tell how quick it is; then it is late, and the second model is first."""
        for number in range(20):
            self._chat(told.RESEARCH, "hedged", f"quickly, {number}")
            self.tally.answered("research", "hedged", "late", "static")
        self._chat(told.RESEARCH, "hedged", "{{late:silent}}")
        self.upstream.release_all()
        self.tally.decided("hedged", "static", "late")
        self.tally.ended("research", "hedged", "small", "ok")
        self.tally.asked("small", "ok")
        self.tally.used("research", "small")
        self.tally.add("pointsman_hedges_total", model="small", result="first")
        self.tally.add("pointsman_attempts_total", model="late", result="cancelled")
        self.tally.add("pointsman_usage_estimated_total", model="late", reason="truncated")

    def _leaving(self) -> None:
        with socket.create_connection(("127.0.0.1", self.alone.port), timeout=SECONDS_MAX) as connection:
            body = json.dumps(_chat("plain", "{{gated}}", stream=True)).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {told.RESEARCH}\r\n"
            connection.sendall(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            seen = b""
            while b"token0" not in seen:
                seen += connection.recv(4096)
        self.upstream.wait_left()
        self.tally.ended("research", "direct", "plain", "cancelled")
        self.tally.asked("plain", "cancelled")
        self.tally.add("pointsman_usage_estimated_total", model="plain", reason="cancelled")

    def _garbage(self) -> None:
        with socket.create_connection(("127.0.0.1", self.alone.port), timeout=SECONDS_MAX) as connection:
            connection.sendall(b"this is no HTTP\r\n\r\n")
            while connection.recv(4096):
                pass
        self.tally.ended("none", "none", "none", "client_error")

    def _chat(self, key: str, model: str, text: str, headers: dict | None = None, **more: object) -> dict[str, str]:
        status, given, body = self._post(key, _chat(model, text, **more), headers)
        assert status == 200, (model, status, body[:300])
        assert not more.get("stream") or b"[DONE]" in body or "error" not in body.decode(), body[-300:]
        return given

    def _post(
        self, key: str, body: dict, headers: dict | None = None, path: str = "/v1/chat/completions", port: int | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.alone.port, timeout=SECONDS_MAX)
        try:
            sent = {"authorization": f"Bearer {key}", "content-type": "application/json", **(headers or {})}
            connection.request("POST", path, json.dumps(body), sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def _chat(model: str, text: str, **more: object) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
