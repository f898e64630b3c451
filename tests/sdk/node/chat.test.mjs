// Chat completions through the official SDK, answered whole and streamed.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { all, openStand, text, user } from "./stand.mjs";

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", description: "Weather of a city", parameters } }];
const weather = ['{"city": "Zürich"}', '{"city": "東京"}'];
const schema = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};
const person = { type: "json_schema", json_schema: { name: "person", strict: true, schema } };
const png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const pictures = [{ role: "user", content: [{ type: "text", text: "What?" }, { type: "image_url", image_url: { url: png } }] }];

let stand, client;
before(async () => {
  stand = await openStand();
  client = stand.client();
});
after(() => stand.close());
beforeEach(() => stand.take());

const ask = (model, messages, more = {}) => client.chat.completions.create({ model, messages, ...more });
const stream = (model, messages, more = {}) => ask(model, messages, { ...more, stream: true });

describe("whole answers", () => {
  test("a pool model by its own name", async () => {
    const answer = await ask("small", user("good morning"));
    assert.equal(answer.choices[0].message.content, "small answers: naïve 🚂 good morning");
    assert.equal(answer.model, "small");
    assert.equal(answer.usage.total_tokens, 18);
    assert.equal((await stand.takeOne()).json.model, "small-2024-01-01");
  });

  for (const model of ["auto", "router-mf-0.3", "router-random-0.5", "fixed", "dice"]) {
    test(`the name ${model}`, async () => {
      const answer = await ask(model, user("Prove that there is no largest prime."));
      const sent = await stand.takeOne();
      assert.equal(answer.model, sent.upstream);
      assert.ok(["small", "large", "placed"].includes(answer.model));
      assert.ok(answer._request_id, "the SDK knows the request's id");
    });
  }

  test("both ends of the threshold", async () => {
    assert.equal((await ask("router-mf-0", user("hi"))).model, "large");
    assert.equal((await ask("router-mf-1", user("hi"))).model, "small");
  });

  test("tools", async () => {
    const answer = await ask("auto", user("Weather?"), { tools, tool_choice: "auto", parallel_tool_calls: true });
    assert.deepEqual(answer.choices[0].message.tool_calls.map((call) => call.function.arguments), weather);
    assert.deepEqual((await stand.takeOne()).json.tools, tools);
  });

  test("images", async () => {
    const answer = await ask("auto", pictures);
    assert.match(answer.choices[0].message.content, /^1 images: /);
    assert.deepEqual((await stand.takeOne()).json.messages, pictures);
  });

  test("n and logprobs", async () => {
    const answer = await ask("auto", user("hi"), { n: 3, logprobs: true, top_logprobs: 1 });
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2]);
    assert.equal(answer.choices[2].logprobs.content[0].logprob, -0.25);
  });

  test("a JSON schema through the parse helper", async () => {
    const answer = await client.chat.completions.parse({ model: "auto", messages: user("Who?"), response_format: person });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { name: "Ada Lovelace", age: 36 });
    assert.deepEqual((await stand.takeOne()).json.response_format, person);
  });

  test("fields that do not exist yet, byte for byte", async () => {
    stand.sent.length = 0;
    const answer = await ask("small", user("naïve 🚂"), { future: { nested: [1e-7, "é", null] }, temperature: 0.1 });
    const sent = stand.sent[0];
    assert.ok(sent.includes('"future"'));
    assert.equal((await stand.takeOne()).raw, sent.replace('"small"', '"small-2024-01-01"'));
    assert.equal(answer.x_vendor.escaped, "é");
  });

  test("response headers", async () => {
    const { data, response } = await client.chat.completions.create({ model: "auto", messages: user("hi") }).withResponse();
    assert.equal(response.headers.get("x-pointsman-model"), data.model);
    assert.equal(response.headers.get("x-pointsman-route"), "auto");
    assert.equal(response.headers.get("x-pointsman-router"), "mf");
    assert.match(response.headers.get("x-pointsman-decision-us"), /^\d+$/);
    assert.equal(response.headers.get("x-pointsman-attempts"), "1");
    assert.ok(response.headers.get("x-request-id"));
  });

  test("twenty at once", async () => {
    const numbers = Array.from({ length: 20 }, (_, number) => number);
    const answers = await Promise.all(numbers.map((number) => ask("auto", user(`number ${number}`))));
    numbers.forEach((n) => assert.ok(answers[n].choices[0].message.content.endsWith(` number ${n}`)));
  });
});

describe("streams", () => {
  for (const model of ["auto", "router-mf-0.3", "fixed", "small"]) {
    test(`the name ${model}`, async () => {
      const chunks = await all(await stream(model, user("good morning")));
      const { upstream } = await stand.takeOne();
      assert.equal(text(chunks), `${upstream} answers: naïve 🚂 good morning`);
      assert.ok(chunks.every((chunk) => chunk.model === upstream));
      assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    });
  }

  test("usage is asked for and kept from a client that did not ask", async () => {
    const chunks = await all(await stream("small", user("hi")));
    assert.deepEqual((await stand.takeOne()).json.stream_options, { include_usage: true });
    assert.ok(chunks.every((chunk) => chunk.choices.length === 1));
  });

  test("usage reaches a client that asked", async () => {
    const chunks = await all(await stream("small", user("hi"), { stream_options: { include_usage: true } }));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.total_tokens, 18);
  });

  test("tools in pieces", async () => {
    const chunks = await all(await stream("auto", user("Weather?"), { tools }));
    const parts = ["", ""];
    for (const chunk of chunks)
      for (const call of chunk.choices[0].delta.tool_calls ?? []) parts[call.index] += call.function.arguments;
    assert.deepEqual(parts, weather);
  });

  test("the stream helper puts them together", async () => {
    const helper = client.chat.completions.stream({ model: "auto", messages: user("Weather?"), tools });
    const message = await helper.finalMessage();
    assert.deepEqual(message.tool_calls.map((call) => call.function.arguments), weather);
  });

  test("n, logprobs and images", async () => {
    const chunks = await all(await stream("auto", pictures, { n: 2, logprobs: true }));
    for (const index of [0, 1]) {
      const choices = chunks.flatMap((chunk) => chunk.choices.filter((choice) => choice.index === index));
      assert.match(choices.map((choice) => choice.delta.content ?? "").join(""), /^1 images: /);
      assert.ok(choices.some((choice) => choice.logprobs?.content[0].logprob === -0.25));
      assert.equal(choices.at(-1).finish_reason, "stop");
    }
  });

  test("content arrives when it is sent", async () => {
    const events = (await stream("small", user("{{gated}}")))[Symbol.asyncIterator]();
    let seen = "";
    while (!seen) seen = text([(await events.next()).value]);
    assert.equal(seen, "token0 ");
    await stand.release();
    const rest = await all({ [Symbol.asyncIterator]: () => events });
    assert.equal(text(rest), "after the gate");
  });

  test("odd framing and a missing [DONE]", async () => {
    assert.equal(text(await all(await stream("small", user("{{odd_framing}}")))), "naïve 🚂");
    assert.equal(text(await all(await stream("small", user("{{no_done}}")))), "token0 token1 ");
  });

  test("a client that leaves cancels its upstream call", async () => {
    for await (const chunk of await stream("small", user("{{gated}}"))) if (text([chunk])) break;
    assert.equal((await stand.waitLeft()).upstream, "small");
  });
});
