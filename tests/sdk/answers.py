"""What a well-behaved OpenAI-compatible server answers: plain functions from a request body to answer objects.

Knows nothing of sockets, of scripts or of the gateway. Every answer carries fields that no SDK knows
(`x_vendor`), numbers whose spelling matters, and text outside ASCII, so that a proxy that rewrites is seen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct

CREATED = 1_700_000_000
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
PERSON = '{"name": "Ada Lovelace", "age": 36}'
TOOL_CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "東京"}'}},
]
# Written by hand: a reader that parses and prints numbers would spell them otherwise.
VENDOR = '{"tiny":1.0E-7,"long":12345678901234567890123,"slash":"a\\/b","escaped":"\\u00e9","null":null}'


def dumps(value: object) -> str:
    """JSON with `x_vendor` spliced in as text, so that the spelling of its numbers is ours."""
    text = json.dumps(value, ensure_ascii=False)
    return text[:-1] + f', "x_vendor": {VENDOR}}}'


def last_user_text(body: dict) -> str:
    """The text of the last user message, or of a `prompt` or `input`."""
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "user":
            content = message["content"]
            if not isinstance(content, str):
                content = "".join(part.get("text", "") for part in content)
            return content.encode(errors="replace").decode()  # grammatical JSON may hold half characters
    text = body.get("prompt", body.get("input", ""))
    return text if isinstance(text, str) else json.dumps(text)


def images(body: dict) -> list[str]:
    """The URLs of all image parts, in order."""
    found = []
    for message in body.get("messages", []):
        if isinstance(message.get("content"), list):
            found += [part["image_url"]["url"] for part in message["content"] if part.get("type") == "image_url"]
    return found


def pieces(body: dict, upstream: str) -> list[str]:
    """The answer's text, cut into the tokens in which it is streamed."""
    if body.get("response_format", {}).get("type") in ("json_schema", "json_object"):
        return [PERSON[:9], PERSON[9:20], PERSON[20:]]
    seen = images(body)
    if seen:
        digests = " ".join(hashlib.sha256(url.encode()).hexdigest() for url in seen)
        return [f"{len(seen)} images: ", digests]
    return [upstream, " answers", ": naïve 🚂 ", last_user_text(body)]


def wants_tools(body: dict) -> bool:
    """Whether the answer is a tool call: tools are offered, and no result of one came back yet."""
    offered = body.get("tools") and body.get("tool_choice") != "none"
    return bool(offered) and body["messages"][-1]["role"] == "user"


def logprobs(tokens: list[str]) -> dict:
    """Log probabilities of tokens, in the form of chat completions."""
    return {"content": [{"token": t, "logprob": -0.25, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens]}


def chat(body: dict, upstream: str) -> dict:
    """A whole chat completion."""
    choices = []
    for index in range(body.get("n") or 1):
        tokens = pieces(body, upstream)
        if wants_tools(body):
            message, reason = {"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}, "tool_calls"
        else:
            message, reason = {"role": "assistant", "content": "".join(tokens), "refusal": None}, "stop"
        given = logprobs(tokens) if body.get("logprobs") else None
        choices.append({"index": index, "message": message, "logprobs": given, "finish_reason": reason})
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": body["model"],
        "choices": choices,
        "usage": USAGE,
        "system_fingerprint": "fp_1",
        "service_tier": "default",
    }


def chunk(body: dict, choices: list, **more: object) -> dict:
    """One event of a streamed chat completion."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"]}
    return {**head, "choices": choices, **more}


def delta(index: int, content: dict, reason: str | None = None) -> dict:
    """One choice of an event."""
    return {"index": index, "delta": content, "logprobs": None, "finish_reason": reason}


def role_chunk(body: dict, index: int = 0) -> dict:
    """The event before any content: it does not commit an answer."""
    return chunk(body, [delta(index, {"role": "assistant", "content": ""})])


def content_chunk(body: dict, token: str, index: int = 0) -> dict:
    """An event with one token, with its log probability where asked."""
    choice = delta(index, {"content": token})
    if body.get("logprobs"):
        choice["logprobs"] = logprobs([token])
    return chunk(body, [choice])


def finish_chunk(body: dict, index: int = 0, reason: str = "stop") -> dict:
    """The event that ends a choice."""
    return chunk(body, [delta(index, {}, reason)])


def tool_chunks(body: dict, index: int) -> list[dict]:
    """Two tool calls, their arguments in pieces."""
    events = []
    for position, call in enumerate(TOOL_CALLS):
        function = {"name": call["function"]["name"], "arguments": ""}
        opening = {"index": position, "id": call["id"], "type": "function", "function": function}
        events.append(chunk(body, [delta(index, {"tool_calls": [opening]})]))
        text = call["function"]["arguments"]
        for part in (text[:6], text[6:]):
            piece = {"index": position, "function": {"arguments": part}}
            events.append(chunk(body, [delta(index, {"tool_calls": [piece]})]))
    return events


def wants_usage(body: dict) -> bool:
    """Whether the request asks for a usage event."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


def chat_chunks(body: dict, upstream: str) -> list[dict]:
    """A whole streamed chat completion, choices interleaved; a usage event only where asked."""
    count = body.get("n") or 1
    events = [role_chunk(body, index) for index in range(count)]
    if wants_tools(body):
        events += [event for index in range(count) for event in tool_chunks(body, index)]
        events += [finish_chunk(body, index, "tool_calls") for index in range(count)]
    else:
        for token in pieces(body, upstream):
            events += [content_chunk(body, token, index) for index in range(count)]
        events += [finish_chunk(body, index) for index in range(count)]
    if wants_usage(body):
        events.append(chunk(body, [], usage=USAGE))
    return events


def completion(body: dict, upstream: str) -> dict:
    """A legacy text completion."""
    text = "".join(pieces(body, upstream))
    choices = [{"index": i, "text": text, "logprobs": None, "finish_reason": "stop"} for i in range(body.get("n") or 1)]
    head = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": body["model"]}
    return {**head, "choices": choices, "usage": USAGE}


def completion_chunks(body: dict, upstream: str) -> list[dict]:
    """A streamed legacy completion."""
    head = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": body["model"]}
    tokens = pieces(body, upstream)
    choice = {"index": 0, "logprobs": None}
    events = [{**head, "choices": [{**choice, "text": token, "finish_reason": None}]} for token in tokens]
    events.append({**head, "choices": [{**choice, "text": "", "finish_reason": "stop"}]})
    if wants_usage(body):
        events.append({**head, "choices": [], "usage": USAGE})
    return events


def embeddings(body: dict) -> dict:
    """One small vector per input, base64 where asked."""
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = []
    for index in range(len(inputs)):
        vector: object = [index + 0.5, -0.25, 0.125]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def response(body: dict, upstream: str, status: str = "completed") -> dict:
    """An object of the Responses API."""
    text = "".join(pieces(body, upstream))
    output = []
    if status == "completed":
        content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
        output = [{"type": "message", "id": "msg_1", "status": status, "role": "assistant", "content": content}]
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18, **details}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": body["model"],
        "output": output,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if status == "completed" else None,
    }


def response_events(body: dict, upstream: str) -> list[dict]:
    """A streamed object of the Responses API: typed events, no `[DONE]`."""
    text = "".join(pieces(body, upstream))
    item = {"type": "message", "id": "msg_1", "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict] = [
        {"type": "response.created", "response": response(body, upstream, "in_progress")},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
    ]
    for token in pieces(body, upstream):
        events.append({"type": "response.output_text.delta", **place, "delta": token, "logprobs": []})
    whole = {**item, "status": "completed", "content": [{**part, "text": text}]}
    events += [
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": response(body, upstream)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]
