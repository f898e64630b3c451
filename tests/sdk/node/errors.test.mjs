// The SDK's typed exceptions, and what becomes of an upstream's failures.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import OpenAI from "openai";
import { all, openStand, text, user } from "./stand.mjs";

let stand, client;
before(async () => {
  stand = await openStand();
  client = stand.client();
});
after(() => stand.close());
beforeEach(() => stand.take());

const upstreams = async () => (await stand.take()).map((request) => request.upstream);

async function ask(stream, model, prompt, asking = client) {
  const answer = await asking.chat.completions.create({ model, messages: user(prompt), stream });
  return stream ? all(answer) : answer;
}

/** Expects a call to fail with exactly this class and gives the error. */
async function failure(call, kind) {
  const error = await call.then(() => assert.fail("it did not fail"), (caught) => caught);
  assert.equal(error.constructor, kind, `${error.constructor.name}: ${error.message}`);
  return error;
}

for (const stream of [false, true]) {
  describe(stream ? "streams" : "whole answers", () => {
    test("wrong key", async () => {
      const error = await failure(ask(stream, "small", "hi", stand.client({ apiKey: "sk-wrong" })), OpenAI.AuthenticationError);
      assert.equal(error.status, 401);
      assert.equal(error.code, "invalid_api_key");
      assert.ok(error.requestID);
    });

    test("unknown model, and another tenant's", async () => {
      for (const model of ["nonesuch", "private"]) {
        const error = await failure(ask(stream, model, "hi"), OpenAI.NotFoundError);
        assert.equal(error.code, "model_not_found");
      }
      assert.deepEqual(await upstreams(), []);
    });

    test("rate limit with nothing to fall back to", async () => {
      const error = await failure(ask(stream, "small", "{{status_429}}"), OpenAI.RateLimitError);
      assert.equal(error.headers.get("retry-after"), "7");
    });

    test("bad request upstream", async () => {
      const error = await failure(ask(stream, "small", "{{status_400}}"), OpenAI.BadRequestError);
      assert.equal(error.code, "context_length_exceeded");
    });

    for (const status of [401, 403, 404, 500]) {
      test(`an upstream's ${status} is not the client's`, async () => {
        const error = await failure(ask(stream, "small", `{{status_${status}}}`), OpenAI.InternalServerError);
        assert.ok(error.status >= 500);
      });
    }

    for (const script of ["status_500", "status_429", "cut_before_headers", "html"]) {
      test(`fallback after ${script}`, async () => {
        const answer = await ask(stream, "fixed", `{{small:${script}}}`);
        assert.equal((stream ? answer[0] : answer).model, "large");
        assert.deepEqual(await upstreams(), ["small", "large"]);
      });
    }

    test("when all fail the SDK does not multiply our attempts", async () => {
      const patient = stand.client({ maxRetries: 2 });
      await failure(ask(stream, "fixed", "{{status_500}}", patient), OpenAI.InternalServerError);
      assert.deepEqual(await upstreams(), ["small", "large"]);
    });
  });
}

describe("after the first token", () => {
  for (const script of ["cut_after_content", "end_without_finish", "error_after_content"]) {
    test(script, async () => {
      const seen = [];
      const reading = async () => {
        const events = await client.chat.completions.create({ model: "fixed", messages: user(`{{${script}}}`), stream: true });
        for await (const chunk of events) seen.push(chunk);
      };
      await failure(reading(), OpenAI.APIError);
      assert.equal(text(seen), "token0 token1 ");
      assert.deepEqual(await upstreams(), ["small"], "nothing is retried");
    });
  }
});

test("bad requests here", async () => {
  await failure(client.chat.completions.create({ model: "small", messages: [] }), OpenAI.BadRequestError);
  await failure(client.chat.completions.create({ model: 5, messages: user("hi") }), OpenAI.BadRequestError);
  await failure(client.chat.completions.create({ model: "small", messages: "hi" }), OpenAI.BadRequestError);
});

test("nobody listens", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  const lost = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "sk", maxRetries: 0 });
  await failure(ask(false, "small", "hi", lost), OpenAI.APIConnectionError);
});
