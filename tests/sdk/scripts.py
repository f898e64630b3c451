"""How the scripted upstream behaves: one function for each way to answer well, badly or not at all.

A script gets an exchange (see `upstream.py`) and plays it. Its name is the marker that asks for it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import answers

SCRIPTS: dict[str, Callable] = {}
HUGE_BYTES = 100 * 1024 * 1024
FLOOD_BYTES = 32 * 1024 * 1024


def script(play: Callable) -> Callable:
    """Makes a function a script under its own name."""
    SCRIPTS[play.__name__] = play
    return play


def status_script(status: int, code: str, headers: dict[str, str] | None = None) -> None:
    """Makes a script `status_NNN` that answers with an error in OpenAI's form."""
    SCRIPTS[f"status_{status}"] = lambda x: x.error(status, code, headers)


status_script(400, "context_length_exceeded")
status_script(401, "invalid_api_key")
status_script(403, "forbidden")
status_script(404, "model_not_found")
status_script(429, "rate_limit_exceeded", {"retry-after": "7", "x-ratelimit-remaining-requests": "0"})
status_script(500, "server_error")
status_script(503, "overloaded")


@script
def answer(x) -> None:
    """Answers well, by path and by `stream`."""
    if x.request.path.endswith("/chat/completions"):
        plain, events, done = answers.chat, answers.chat_chunks, True
    elif x.request.path.endswith("/completions"):
        plain, events, done = answers.completion, answers.completion_chunks, True
    elif x.request.path.endswith("/responses"):
        plain, events, done = answers.response, answers.response_events, False
    elif x.request.path.endswith("/embeddings"):
        return x.answer(200, answers.dumps(answers.embeddings(x.body)).encode())
    else:
        return x.error(404, "no_such_path")
    if not x.body.get("stream"):
        return x.answer(200, answers.dumps(plain(x.body, x.name)).encode())
    x.open_stream()
    for event in events(x.body, x.name):
        x.event(event, event.get("type"))
    if done:
        x.event("[DONE]")
    x.close_stream()


def begin(x, tokens: int) -> None:
    """Opens a streamed chat answer: the role, then so many tokens of content."""
    x.open_stream()
    x.event(answers.role_chunk(x.body))
    for number in range(tokens):
        x.event(answers.content_chunk(x.body, f"token{number} "))


def finish(x) -> None:
    """Ends a streamed chat answer in good order."""
    x.event(answers.finish_chunk(x.body))
    if answers.wants_usage(x.body):
        x.event(answers.chunk(x.body, [], usage=answers.USAGE))
    x.event("[DONE]")
    x.close_stream()


# Failures before the answer is committed.


@script
def cut_before_headers(x) -> None:
    """Closes without a word."""
    x.cut()


@script
def cut_before_content(x) -> None:
    """Streams the role, which commits nothing, and closes."""
    begin(x, 0)
    x.cut()


@script
def error_before_content(x) -> None:
    """Streams an error where the first token should be."""
    begin(x, 0)
    x.event({"error": {"message": "overloaded", "type": "server_error", "param": None, "code": "overloaded"}})
    x.close_stream()


@script
def html(x) -> None:
    """A page of HTML with status 200: a captive portal, a login page."""
    x.answer(200, b"<!doctype html><html><body><h1>Welcome</h1></body></html>", {"content-type": "text/html"})


@script
def html_502(x) -> None:
    """A page of HTML as load balancers send it."""
    x.answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", {"content-type": "text/html"})


@script
def garbage(x) -> None:
    """Says JSON, is none."""
    x.answer(200, b'{"choices": [')


@script
def short_body(x) -> None:
    """Announces more bytes than it sends, and closes."""
    x.head(200, {"content-type": "application/json", "content-length": "5000"})
    x.send(b'{"id": "chatcmpl-1", "object": "chat.completion", "choices": [')
    x.cut()


@script
def silent(x) -> None:
    """Takes the request and says nothing until released, then answers well."""
    x.wait_release()
    SCRIPTS["answer"](x)


@script
def redirect(x) -> None:
    """Sends the caller, and the key it carries, elsewhere."""
    x.answer(307, b"", {"location": x.server.url("large") + "/chat/completions"})


# Failures after it.


@script
def cut_after_content(x) -> None:
    """Two tokens, then the connection is gone."""
    begin(x, 2)
    x.cut()


@script
def end_without_finish(x) -> None:
    """Two tokens, then a good end of the HTTP body: nobody said that the answer is complete."""
    begin(x, 2)
    x.close_stream()


@script
def error_after_content(x) -> None:
    """Two tokens, then an error event."""
    begin(x, 2)
    x.event({"error": {"message": "the model fell over", "type": "server_error", "param": None, "code": "fell_over"}})
    x.close_stream()


@script
def one_of_two_finished(x) -> None:
    """Two choices, of which only the first comes to its end."""
    begin(x, 2)
    x.event(answers.content_chunk(x.body, "second ", 1))
    x.event(answers.finish_chunk(x.body, 0))
    x.close_stream()


@script
def responses_cut(x) -> None:
    """A stream of the Responses API, cut after its first delta."""
    x.open_stream()
    for event in answers.response_events(x.body, x.name)[:4]:
        x.event(event, event["type"])
    x.cut()


# Well enough, but unusual.


@script
def no_done(x) -> None:
    """All choices finish, `[DONE]` is missing."""
    begin(x, 2)
    x.event(answers.finish_chunk(x.body))
    x.close_stream()


@script
def gated(x) -> None:
    """One token, then waits for the test, then the rest."""
    begin(x, 1)
    x.wait_release()
    x.event(answers.content_chunk(x.body, "after the gate"))
    finish(x)


@script
def empty_choices_first(x) -> None:
    """An event without choices before all others, and `usage: null` on every event, as some providers send."""
    x.open_stream()
    x.event(answers.chunk(x.body, [], prompt_filter_results=[{"prompt_index": 0}], usage=None))
    x.event({**answers.content_chunk(x.body, "hello"), "usage": None})
    x.event({**answers.finish_chunk(x.body), "usage": None})
    if answers.wants_usage(x.body):
        x.event(answers.chunk(x.body, [], usage=answers.USAGE))
    x.event("[DONE]")
    x.close_stream()


@script
def usage_beside_choices(x) -> None:
    """Usage that rides on the event with the finish_reason."""
    begin(x, 1)
    x.event({**answers.finish_chunk(x.body), "usage": answers.USAGE})
    x.event("[DONE]")
    x.close_stream()


@script
def odd_framing(x) -> None:
    """Comments, CRLF line ends, events split across chunks and inside a character: all of it allowed."""
    x.open_stream()
    x.chunk(b": keep-alive\r\n\r\n")
    events = [answers.content_chunk(x.body, "naïve 🚂"), answers.finish_chunk(x.body)]
    raw = "".join(f"data: {answers.dumps(event)}\r\n\r\n" for event in events).encode() + b"data:[DONE]\r\n\r\n"
    for start in range(0, len(raw), 7):
        x.chunk(raw[start : start + 7])
    x.close_stream()


@script
def hang_up_after(x) -> None:
    """Answers well and closes, without having said so: the next request must not be lost on this connection."""
    SCRIPTS["answer"](x)
    x.cut()


@script
def loud_headers(x) -> None:
    """Sends headers that belong to its own connection, and some that are ours."""
    own = {"connection": "x-hop", "x-hop": "1", "keep-alive": "timeout=9", "x-pointsman-model": "forged"}
    body = answers.dumps(answers.chat(x.body, x.name)).encode()
    x.answer(200, body, {**own, "x-pointsman-attempts": "99", "openai-processing-ms": "7"})


@script
def flood(x) -> None:
    """A valid stream of 32 MB in small events."""
    begin(x, 1)
    token = "b" * 4096
    event = f"data: {answers.dumps(answers.content_chunk(x.body, token))}\n\n".encode()
    for _ in range(FLOOD_BYTES // len(token)):
        x.chunk(event)
    finish(x)


@script
def gzipped(x) -> None:
    """Encodes its answer although it was asked not to."""
    body = gzip.compress(answers.dumps(answers.chat(x.body, x.name)).encode())
    x.answer(200, body, {"content-encoding": "gzip"})


@script
def huge(x) -> None:
    """A valid answer of 100 MB."""
    whole = answers.chat(x.body, x.name)
    whole["choices"][0]["message"]["content"] = "%"
    before, after = answers.dumps(whole).split('"%"')
    x.head(200, {"content-type": "application/json", "content-length": str(len(before + after) + 2 + HUGE_BYTES)})
    x.send((before + '"').encode())
    block = b"a" * (1024 * 1024)
    for _ in range(HUGE_BYTES // len(block)):
        x.send(block)
    x.send(('"' + after).encode())


@script
def huge_event(x) -> None:
    """One token, then a single event of 100 MB that has no line end until the very last."""
    begin(x, 1)
    whole = json.dumps(answers.content_chunk(x.body, "%"))
    before, after = whole.split('"%"')
    x.chunk(f'data: {before}"'.encode())
    block = b"a" * (1024 * 1024)
    for _ in range(HUGE_BYTES // len(block)):
        x.chunk(block)
    x.chunk(f'"{after}\n\n'.encode())
    finish(x)
