// Completions, embeddings, responses and the list of models through the official SDK.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import OpenAI from "openai";
import { all, openStand } from "./stand.mjs";

let stand, client;
before(async () => {
  stand = await openStand();
  client = stand.client();
});
after(() => stand.close());
beforeEach(() => stand.take());

const answered = "small answers: naïve 🚂 Once";

test("completions", async () => {
  const answer = await client.completions.create({ model: "small", prompt: "Once", max_tokens: 5 });
  assert.equal(answer.choices[0].text, answered);
  assert.equal(answer.model, "small");
  assert.equal((await stand.takeOne()).path, "/v1/completions");
});

test("streamed completions", async () => {
  const chunks = await all(await client.completions.create({ model: "small", prompt: "Once", stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), answered);
  assert.deepEqual((await stand.takeOne()).json.stream_options, { include_usage: true });
});

test("embeddings", async () => {
  const answer = await client.embeddings.create({ model: "small", input: ["one", "two"] });
  assert.deepEqual([...answer.data[1].embedding], [1.5, -0.25, 0.125]);
  assert.equal(answer.model, "small");
  assert.equal((await stand.takeOne()).path, "/v1/embeddings");
});

test("responses", async () => {
  const answer = await client.responses.create({ model: "small", input: "Once" });
  assert.equal(answer.output_text, answered);
  assert.equal(answer.model, "small");
  assert.deepEqual((await stand.takeOne()).json, { model: "small-2024-01-01", input: "Once" });
});

test("streamed responses", async () => {
  const events = await all(await client.responses.create({ model: "small", input: "Once", stream: true }));
  const deltas = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(deltas.join(""), answered);
  assert.equal(events.at(-1).type, "response.completed");
  assert.equal((await stand.takeOne()).json.stream_options, undefined);
});

test("the responses stream helper", async () => {
  const final = await client.responses.stream({ model: "small", input: "Once" }).finalResponse();
  assert.equal(final.output_text, answered);
});

test("a cut stream of responses is an error", async () => {
  const reading = async () => all(await client.responses.create({ model: "small", input: "{{responses_cut}}", stream: true }));
  await assert.rejects(reading(), OpenAI.APIError);
});

test("models are those of the tenant", async () => {
  const names = async (asking) => (await all(asking.models.list())).map((model) => model.id);
  const mine = await names(client);
  assert.ok(stand.where.pool.every((name) => mine.includes(name)));
  assert.ok(mine.every((name) => stand.where.pool.includes(name) || stand.where.routes.includes(name)));
  const theirs = await names(stand.client({ apiKey: stand.where.ops_key }));
  assert.ok(theirs.includes("private") && !theirs.includes("large"));
});

test("other endpoints know only the pool", async () => {
  await assert.rejects(client.completions.create({ model: "private", prompt: "x" }), OpenAI.NotFoundError);
  await assert.rejects(client.embeddings.create({ model: "private", input: "x" }), OpenAI.NotFoundError);
  await assert.rejects(client.responses.create({ model: "nonesuch", input: "x" }), OpenAI.NotFoundError);
  assert.deepEqual(await stand.take(), []);
});
