"""Chat completions through the official SDK, answered whole."""

from __future__ import annotations

import asyncio

import openai
import pytest
from pydantic import BaseModel

import gateway as stand
from conftest import make_client, user

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Person(BaseModel):
    """What the structured answer is parsed into."""

    name: str
    age: int


def test_pool_model_by_its_own_name(client, upstream):
    answer = client.chat.completions.create(model="small", messages=user("good morning"))
    assert answer.choices[0].message.content == "small answers: naïve 🚂 good morning"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "small", "the pool's name, not the provider's"
    assert answer.usage.total_tokens == 18
    sent = upstream.take_one()
    assert (sent.upstream, sent.method, sent.path) == ("small", "POST", "/v1/chat/completions")
    assert sent.json["model"] == "small-2024-01-01", "the provider's name, not the pool's"


def test_model_without_another_name_upstream_keeps_its_name(client, upstream):
    assert client.chat.completions.create(model="plain", messages=user("hi")).model == "plain"
    assert upstream.take_one().json["model"] == "plain"


@pytest.mark.parametrize("model", ["auto", "router-mf-0.3", "router-random-0.5", "dice", "best", "priced", "cautious"])
def test_routed_names(client, upstream, model):
    answer = client.chat.completions.create(model=model, messages=user("Prove that there is no largest prime."))
    assert answer.model in {"small", "large", "placed"}, "only these can be routed to"
    sent = upstream.take_one()
    assert sent.upstream == answer.model
    assert answer.choices[0].message.content.startswith(answer.model)


def test_static_route_takes_its_first_model(client, upstream):
    assert client.chat.completions.create(model="fixed", messages=user("hi")).model == "small"
    assert upstream.take_one().upstream == "small"


def test_auto_is_the_tenants_own_default_route(ops, upstream):
    """The tenant's default route is `fixed`: small, then large, of which only small is in the pool."""
    assert ops.chat.completions.create(model="auto", messages=user("hi")).model == "small"
    assert upstream.take_one().upstream == "small"


@pytest.mark.parametrize(("threshold", "model"), [("0", "large"), ("0.0", "large"), ("1", "small"), ("1.0", "small")])
@pytest.mark.parametrize("router", ["mf", "random", "best_single"])
def test_the_threshold_decides(client, router, threshold, model):
    """Every step up in price must be earned: a threshold of 0 always earns it, one of 1 never does."""
    answer = client.chat.completions.create(model=f"router-{router}-{threshold}", messages=user("hello there"))
    assert answer.model == model


def test_the_same_prompt_goes_the_same_way(client):
    for prompt in ("What is 2+2?", "Derive the Navier-Stokes equations.", "", "🚂" * 50):
        chosen = {client.chat.completions.create(model="auto", messages=user(prompt)).model for _ in range(3)}
        assert len(chosen) == 1, prompt


def test_key_given_as_a_hash(gateway, upstream):
    with make_client(gateway, api_key=stand.HASHED_KEY) as client:
        assert client.chat.completions.create(model="small", messages=user("hi")).model == "small"


def test_tools(client, upstream):
    answer = client.chat.completions.create(model="auto", messages=user("Weather?"), tools=TOOLS, tool_choice="auto")
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [call.function.arguments for call in calls] == ['{"city": "Zürich"}', '{"city": "東京"}']
    sent = upstream.take_one().json
    assert sent["tools"] == TOOLS and sent["tool_choice"] == "auto"


def test_tool_results_go_up_and_an_answer_comes_back(client, upstream):
    first = client.chat.completions.create(model="small", messages=user("Weather?"), tools=TOOLS)
    conversation = [
        *user("Weather?"),
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Rain"},
    ]
    upstream.take()
    answer = client.chat.completions.create(model="auto", messages=conversation, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"
    assert [message["role"] for message in upstream.take_one().json["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


def image_message() -> list[dict]:
    """A question beside two images."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in (PNG, "https://images.test/train.png")]
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def test_images(client, upstream):
    answer = client.chat.completions.create(model="auto", messages=image_message())
    assert answer.choices[0].message.content.startswith("2 images: ")
    assert upstream.take_one().json["messages"] == image_message()


def test_a_model_that_sees_nothing_is_no_candidate_for_images(vision, upstream):
    """`texter` is the dearest and the route takes the dearest: but it cannot see."""
    assert vision.chat.completions.create(model="auto", messages=user("hi")).model == "texter"
    assert vision.chat.completions.create(model="auto", messages=image_message()).model == "placed"
    assert vision.chat.completions.create(model="auto", messages=user("hi"), tools=TOOLS).model == "placed"
    assert vision.chat.completions.create(model="auto", messages=user("hi " * 20_000)).model == "placed"
    schema = {"type": "json_schema", "json_schema": {"name": "any", "schema": {"type": "object"}}}
    assert vision.chat.completions.create(model="auto", messages=user("hi"), response_format=schema).model == "placed"
    assert [request.upstream for request in upstream.take()] == ["texter"] + 4 * ["placed"]


def test_several_choices(client, upstream):
    answer = client.chat.completions.create(model="auto", messages=user("hi"), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert upstream.take_one().json["n"] == 3


def test_logprobs(client, upstream):
    answer = client.chat.completions.create(model="auto", messages=user("hi"), logprobs=True, top_logprobs=2)
    content = answer.choices[0].logprobs.content
    assert "".join(token.token for token in content) == answer.choices[0].message.content
    assert all(token.logprob == -0.25 for token in content)
    sent = upstream.take_one().json
    assert sent["logprobs"] is True and sent["top_logprobs"] == 2


def test_json_object(client, upstream):
    answer = client.chat.completions.create(
        model="auto", messages=user("Who?"), response_format={"type": "json_object"}
    )
    assert Person.model_validate_json(answer.choices[0].message.content).age == 36
    assert upstream.take_one().json["response_format"] == {"type": "json_object"}


def test_structured_answer_through_the_parse_helper(client, upstream):
    answer = client.chat.completions.parse(model="auto", messages=user("Who?"), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada Lovelace", age=36)
    schema = upstream.take_one().json["response_format"]["json_schema"]
    assert schema["name"] == "Person" and schema["strict"] is True


def test_fields_that_do_not_exist_yet(client, upstream):
    """They go up untouched, and unknown fields of the answer come down untouched."""
    future = {"thinking_budget": {"tokens": 12345678901234567890, "ratio": 1e-7}, "naïve": ["🚂", None, True, {}]}
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=user("hi"), extra_body=future)
    sent = upstream.take_one().json
    assert {key: sent[key] for key in future} == future
    assert raw.parse().model_extra["x_vendor"]["long"] == 12345678901234567890123
    assert b'"long":12345678901234567890123' in raw.http_response.content.replace(b" ", b"")


def test_async_client(gateway, upstream):
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=stand.KEY, max_retries=0) as client:
            calls = [client.chat.completions.create(model="auto", messages=user(f"number {n}")) for n in range(20)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    contents = asyncio.run(ask())
    assert [content.rsplit(" ", 1)[1] for content in contents] == [str(n) for n in range(20)]
    assert len(upstream.take()) == 20
