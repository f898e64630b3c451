// The scripted upstream and the gateway, started for one test file; clients of it; what arrived upstream.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";

const script = fileURLToPath(new URL("../stand.py", import.meta.url));

/** Starts both and waits until they are ready; `close` stops them. */
export async function openStand() {
  const python = spawn(process.env.PYTHON ?? "python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const first = await createInterface({ input: python.stdout })[Symbol.asyncIterator]().next();
  if (first.done) throw new Error("the gateway did not start: see above");
  return new Stand(python, JSON.parse(first.value));
}

class Stand {
  constructor(python, where) {
    this.python = python;
    this.where = where;
    this.sent = [];
  }

  /** A client of the gateway that does not retry; the bodies it sends are kept in `sent`. */
  client(options = {}) {
    const keeping = (url, init) => {
      this.sent.push(init?.body);
      return fetch(url, init);
    };
    const given = { apiKey: this.where.key, maxRetries: 0, timeout: 30_000, fetch: keeping, ...options };
    return new OpenAI({ baseURL: `${this.where.url}/v1`, ...given });
  }

  /** All requests that arrived upstream since the last call. */
  async take() {
    const requests = await this.#control("take");
    return requests.map((request) => {
      const raw = Buffer.from(request.body, "base64").toString("utf8");
      return { ...request, raw, json: JSON.parse(raw) };
    });
  }

  /** The only one since the last call. */
  async takeOne() {
    const taken = await this.take();
    if (taken.length !== 1) throw new Error(`expected one request upstream, got ${taken.length}`);
    return taken[0];
  }

  /** Frees the script that waits. */
  release() {
    return this.#control("release");
  }

  /** Waits until the gateway hangs up on a script that waits, and gives its request. */
  waitLeft() {
    return this.#control("wait_left");
  }

  close() {
    this.python.stdin.end();
    return new Promise((resolve) => this.python.once("exit", resolve));
  }

  async #control(verb) {
    const answer = await fetch(`${this.where.control}/${verb}`, { method: "POST" });
    return answer.json();
  }
}

/** A conversation of one user turn. */
export const user = (content) => [{ role: "user", content }];

/** The content of streamed events. */
export const text = (chunks) => chunks.flatMap((chunk) => chunk.choices.map((c) => c.delta.content ?? "")).join("");

/** All items of an async iterable. */
export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}
