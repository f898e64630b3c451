"""Streamed chat completions through the official SDK: every event, its time, and how streams end."""

from __future__ import annotations

import asyncio
import json
import threading

import openai
import pytest

import gateway as stand
from conftest import user
from test_chat import TOOLS, Person, image_message
from wire import Wire, head, usual_headers


def text(chunks) -> str:
    """The content of a streamed answer."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def stream(client, prompt: str, model: str = "small", **options):
    """A streamed chat completion."""
    return client.chat.completions.create(model=model, messages=user(prompt), stream=True, **options)


@pytest.mark.parametrize("model", ["auto", "router-mf-0.3", "fixed", "small"])
def test_stream(client, upstream, model):
    chunks = list(stream(client, "good morning", model))
    chosen = upstream.take_one().upstream
    assert text(chunks) == f"{chosen} answers: naïve 🚂 good morning"
    assert {chunk.model for chunk in chunks} == {chosen}, "the pool's name in every event"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_usage_is_asked_for_and_kept_from_a_client_that_did_not(client, upstream):
    chunks = list(stream(client, "hi"))
    assert upstream.take_one().json["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in chunks), "the usage event was not asked for"
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("options", [{"include_usage": False}, {"include_obfuscation": False}])
def test_usage_is_kept_from_a_client_with_other_stream_options(client, upstream, options):
    chunks = list(stream(client, "hi", stream_options=options))
    assert upstream.take_one().json["stream_options"] == {**options, "include_usage": True}
    assert all(chunk.choices for chunk in chunks)


def test_usage_reaches_a_client_that_asked(client, upstream):
    chunks = list(stream(client, "hi", stream_options={"include_usage": True}))
    assert upstream.take_one().json["stream_options"] == {"include_usage": True}
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 18
    assert sum(chunk.usage is not None for chunk in chunks) == 1


def test_a_model_whose_usage_is_left_as_it_is(client, upstream):
    chunks = list(stream(client, "hi", "plain"))
    assert "stream_options" not in upstream.take_one().json
    assert text(chunks).startswith("plain answers")


def test_events_without_choices_that_are_not_the_usage_event_stay(client, upstream):
    chunks = list(stream(client, "{{empty_choices_first}}"))
    assert [len(chunk.choices) for chunk in chunks] == [0, 1, 1]
    assert chunks[0].model_extra["prompt_filter_results"] == [{"prompt_index": 0}]
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks), "`usage: null` stays"


def test_usage_beside_choices_stays(client):
    chunks = list(stream(client, "{{usage_beside_choices}}"))
    assert chunks[-1].choices[0].finish_reason == "stop" and chunks[-1].usage.total_tokens == 18


def test_streamed_tools(client, upstream):
    chunks = list(stream(client, "Weather?", "auto", tools=TOOLS))
    arguments = {0: "", 1: ""}
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or []:
            arguments[call.index] += call.function.arguments
    assert arguments == {0: '{"city": "Zürich"}', 1: '{"city": "東京"}'}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_stream_helper_puts_tools_and_parsed_answers_together(client):
    with client.chat.completions.stream(model="auto", messages=user("Weather?"), tools=strict_tools()) as events:
        calls = events.get_final_completion().choices[0].message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"city": "Zürich"}', '{"city": "東京"}']
    with client.chat.completions.stream(model="auto", messages=user("Who?"), response_format=Person) as events:
        final = events.get_final_completion()
    assert final.choices[0].message.parsed == Person(name="Ada Lovelace", age=36)


def strict_tools() -> list[dict]:
    """The tools in the form that the SDK's own stream helper wants."""
    function = TOOLS[0]["function"]
    schema = {**function["parameters"], "additionalProperties": False}
    return [{"type": "function", "function": {**function, "strict": True, "parameters": schema}}]


def test_streamed_choices_images_and_logprobs(client, upstream):
    chunks = list(
        client.chat.completions.create(model="auto", messages=image_message(), stream=True, n=2, logprobs=True)
    )
    for index in (0, 1):
        choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in choices).startswith("2 images: ")
        assert choices[-1].finish_reason == "stop"
        assert any(choice.logprobs and choice.logprobs.content[0].logprob == -0.25 for choice in choices)


def test_unknown_fields_of_events_survive(client, post):
    answer = post({"model": "small", "messages": user("hi"), "stream": True})
    for event in answer.events()[:-1]:
        assert '{"tiny":1.0E-7,"long":12345678901234567890123,"slash":"a\\/b","escaped":"\\u00e9","null":null}' in event


def test_odd_framing(client):
    chunks = list(stream(client, "{{odd_framing}}"))
    assert text(chunks) == "naïve 🚂" and chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"small"}


def test_content_arrives_when_it_is_sent(client, upstream):
    """The upstream sends no second token before the client has read the first."""
    events = iter(stream(client, "{{gated}}"))
    seen = ""
    while not seen:
        seen = text([next(events)])
    assert seen == "token0 "
    upstream.release()
    assert text(events) == "after the gate"


def test_headers_and_role_may_wait_but_a_slow_first_token_is_no_failure(client, upstream):
    with openai.OpenAI(base_url=client.base_url, api_key=stand.KEY, max_retries=0) as other:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(text(stream(other, "{{silent}}"))))
        asking.start()
        upstream.wait_requests(1)
        assert client.chat.completions.create(model="large", messages=user("meanwhile")).model == "large"
        upstream.release()
        asking.join()
    assert answers == ["small answers: naïve 🚂 {{silent}}"]


def test_missing_done_is_supplied(client, post):
    assert text(stream(client, "{{no_done}}")) == "token0 token1 "
    answer = post({"model": "small", "messages": user("{{no_done}}"), "stream": True})
    assert answer.complete and answer.events()[-1] == "[DONE]"
    assert answer.events().count("[DONE]") == 1


def test_content_type_of_a_stream(post):
    answer = post({"model": "small", "messages": user("hi"), "stream": True})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.events().count("[DONE]") == 1 and answer.events()[-1] == "[DONE]"


@pytest.mark.parametrize("script", ["cut_after_content", "end_without_finish", "error_after_content"])
def test_a_truncated_stream_is_an_error(client, outcomes, script):
    """The SDK gives what came and raises; it never sees a stream that ended well."""
    seen = []
    with outcomes(outcome="upstream_error"), pytest.raises(openai.APIError) as caught:
        seen.extend(stream(client, f"{{{{{script}}}}}"))
    assert text(seen) == "token0 token1 "
    assert type(caught.value) is openai.APIError, "an error in the stream, not of the connection"


@pytest.mark.parametrize("script", ["cut_after_content", "end_without_finish", "error_after_content"])
def test_a_truncated_stream_has_one_error_and_no_done(post, script):
    answer = post({"model": "small", "messages": user(f"{{{{{script}}}}}"), "stream": True})
    assert answer.complete, "the HTTP body ends in good order"
    errors = [event for event in answer.events() if '"error"' in event]
    assert len(errors) == 1 and answer.events()[-1] == errors[0]
    assert "[DONE]" not in answer.events()


def test_a_stream_is_complete_only_with_all_its_choices(client):
    seen = []
    with pytest.raises(openai.APIError):
        seen.extend(stream(client, "{{one_of_two_finished}}", n=2))
    assert text(seen) == "token0 token1 second "


def test_nothing_is_retried_after_the_first_token(client, upstream):
    with pytest.raises(openai.APIError):
        list(stream(client, "{{cut_after_content}}", "fixed"))
    assert [request.upstream for request in upstream.take()] == ["small"]


def test_a_client_that_leaves_cancels_its_upstream_call(client, upstream, outcomes):
    with outcomes(outcome="cancelled"):
        events = stream(client, "{{gated}}")
        next(iter(events))
        events.close()
        assert upstream.wait_left().upstream == "small"


def test_a_client_that_leaves_before_the_first_token_cancels_too(gateway, upstream, outcomes):
    body = json.dumps({"model": "small", "messages": user("{{silent}}"), "stream": True}).encode()
    with outcomes(outcome="cancelled"):
        with Wire(gateway.port) as wire:
            wire.send(head("/v1/chat/completions", usual_headers(stand.KEY, len(body))) + body)
            upstream.wait_requests(1)
        assert upstream.wait_left().upstream == "small"


def test_a_long_stream_arrives_whole(client):
    length = sum(len(text([chunk])) for chunk in stream(client, "{{flood}}"))
    assert length == len("token0 ") + (32 << 20)


def test_a_client_that_does_not_read_holds_its_upstream_back(gateway, client, upstream, outcomes):
    """What it does not read is not held here either. A hundred other requests are the time it is given."""
    body = json.dumps({"model": "small", "messages": user("{{flood}}"), "stream": True}).encode()
    before = gateway.memory_peak_bytes()
    with outcomes(outcome="cancelled"):
        with Wire(gateway.port) as wire:
            wire.send(head("/v1/chat/completions", usual_headers(stand.KEY, len(body))) + body)
            upstream.wait_requests(1)
            for _ in range(100):
                client.chat.completions.create(model="large", messages=user("meanwhile"))
        assert upstream.wait_left().upstream == "small"
    assert gateway.memory_peak_bytes() - before < 12 << 20


def test_a_client_that_leaves_while_a_whole_answer_is_made(gateway, upstream, outcomes):
    body = json.dumps({"model": "small", "messages": user("{{silent}}")}).encode()
    with outcomes(outcome="cancelled"):
        with Wire(gateway.port) as wire:
            wire.send(head("/v1/chat/completions", usual_headers(stand.KEY, len(body))) + body)
            upstream.wait_requests(1)
        assert upstream.wait_left().upstream == "small"


def test_async_stream(gateway, upstream):
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=stand.KEY, max_retries=0) as client:
            events = await client.chat.completions.create(model="fixed", messages=user("hi"), stream=True)
            return text([chunk async for chunk in events])

    assert asyncio.run(ask()) == "small answers: naïve 🚂 hi"
