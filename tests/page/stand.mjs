// What the tests of the page stand on: two scripted upstreams, the gateway before them, and a browser that looks at its page.

import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

const root = fileURLToPath(new URL("../../", import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const OPERATOR = "operator-key-of-the-tests";
export const HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=2</script>';
/** What one answer of an upstream reports. */
const USAGE = { prompt_tokens: 1000, completion_tokens: 500, total_tokens: 1500 };

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until something holds, and gives it. */
export async function until(what, get, secondsMax = 15) {
  const end = Date.now() + secondsMax * 1000;
  let last;
  while (Date.now() < end) {
    try {
      last = await get();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await pause(50);
  }
  throw new Error(`waited in vain for ${what}; at last: ${last}`);
}

/**
 * An upstream of a name. It says its name and the prompt back; `{{hostile}}`, `{{slow}}` and `{{cut}}` in a prompt make it do otherwise, and
 * `broken` makes it fail.
 */
export async function openUpstream(name) {
  const upstream = { broken: false };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const asked = JSON.parse(Buffer.concat(parts).toString());
    if (upstream.broken) return response.writeHead(500, { "content-type": "application/json" }).end('{"error": {"message": "out of order"}}');
    const prompt = asked.messages.at(-1).content;
    const id = { id: "chatcmpl-1", created: 1, model: asked.model };
    const text = prompt.includes("{{hostile}}") ? HOSTILE : `${name} heard: ${prompt}`;
    if (!asked.stream) {
      const answer = { ...id, object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }], usage: USAGE };
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (data) => response.write(`data: ${JSON.stringify({ ...id, object: "chat.completion.chunk", ...data })}\n\n`);
    const say = (content) => send({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
    const words = prompt.includes("{{slow}}") ? Array(300).fill("more ") : text.split(/(?<= )/);
    for (const [index, word] of words.entries()) {
      if (response.destroyed) return;
      if (prompt.includes("{{cut}}") && index === 2) return response.destroy();
      say(word);
      await pause(prompt.includes("{{slow}}") ? 100 : 15);
    }
    send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    if (asked.stream_options?.include_usage) send({ choices: [], usage: USAGE });
    response.end("data: [DONE]\n\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  upstream.url = `http://127.0.0.1:${server.address().port}/v1`;
  upstream.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return upstream;
}

const hash = (key) => createHash("sha256").update(key).digest("hex");

/** The configuration of the tests. Prices are such that an answer of `strong` costs 0.25 USD. */
export function configuration(weak, strong, { adminPort = 0, withKeys = true } = {}) {
  const limits = "max_output_tokens: 1000, timeouts: {response_headers: 10s}, breaker: {failures: 3, open_for: 60s}";
  return `
listen: 127.0.0.1:0
admin_listen: 127.0.0.1:${adminPort}
database: none
${withKeys ? `admin_keys: [{hash: "sha256:${hash(OPERATOR)}"}]` : ""}
models:
  weak:   { provider: openai, base_url: "${weak.url}", api_key: sk-weak, rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 5, output: 5}, ${limits} }
  strong: { provider: openai, base_url: "${strong.url}", api_key: sk-strong, rated_as: gpt-4-1106-preview, price: {input: 100, output: 300}, ${limits} }
routes:
  auto:  { router: mf, threshold: 0.7, timeout: 10s, retry: {max: 0} }
  fixed: { models: [weak, strong], retry: {max: 0} }
tenants:
  research: { keys: [{key: sk-research}], pool: [weak, strong], default_route: auto, default_model: weak, budget: {usd: 50, per: month} }
  other: { keys: [{key: sk-other}], pool: [weak, strong], default_route: fixed, default_model: weak }
`;
}

/** `pointsman serve`, ready for requests. */
export async function openGateway(text) {
  const binary = process.env.POINTSMAN_BIN ?? join(root, "target/debug/pointsman");
  const folder = await mkdtemp(join(tmpdir(), "pointsman-page-"));
  const file = join(folder, "config.yaml");
  await writeFile(file, text);
  const child = spawn(binary, ["serve", "--config", file], { stdio: ["ignore", "pipe", "pipe"] });
  // Whatever becomes of the tests, it does not outlive them.
  process.once("exit", () => child.kill("SIGKILL"));
  const said = [];
  const urls = {};
  const ready = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the gateway did not start:\n${said.join("\n")}`)), 60_000);
    const take = (line) => {
      said.push(line);
      const found = /(operators' listener|listening) on (http:\/\/127\.0\.0\.1:\d+)/.exec(line);
      if (found) urls[found[1] === "listening" ? "url" : "admin"] = found[2];
      if (!urls.url || !urls.admin) return;
      clearTimeout(timer);
      resolve();
    };
    for (const pipe of [child.stdout, child.stderr]) createInterface({ input: pipe }).on("line", take);
    child.once("exit", (status) => reject(new Error(`the gateway ended with ${status}:\n${said.join("\n")}`)));
  });
  const close = async () => {
    const ended = child.exitCode === null ? new Promise((resolve) => child.once("exit", resolve)) : null;
    child.kill("SIGTERM");
    // Open streams of a page would be waited for.
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
    await ended;
    clearTimeout(timer);
    await rm(folder, { recursive: true });
  };
  try {
    await ready;
  } catch (error) {
    await close();
    throw error;
  }
  const chat = async (model, prompt, key = "sk-research") => {
    const body = JSON.stringify({ model, messages: [{ role: "user", content: prompt }] });
    const answer = await fetch(`${urls.url}/v1/chat/completions`, { method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" }, body });
    await answer.text();
    return answer.status;
  };
  return { ...urls, chat, close };
}

/** The system's Chromium. */
export function openBrowser() {
  const places = (process.env.PATH ?? "").split(":").flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(folder, name)));
  const executablePath = process.env.POINTSMAN_CHROMIUM || places.find(existsSync);
  if (!executablePath) throw new Error("no Chromium is installed; POINTSMAN_CHROMIUM can name one");
  return puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

const KINDS = { "index.html": "text/html; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "app.css": "text/css; charset=utf-8" };

/**
 * Answers in place of the gateway: what `canned` has by path, and with POINTSMAN_PAGE, a folder, the page's files: a changed page is tested
 * without a build.
 */
async function serveInstead(page, canned) {
  const folder = process.env.POINTSMAN_PAGE;
  if (!folder && !canned) return;
  await page.setRequestInterception(true);
  page.on("request", async (request) => {
    const { pathname } = new URL(request.url());
    const [contentType, body] = canned?.[pathname] ?? [];
    if (contentType) return request.respond({ status: 200, contentType, body });
    const name = pathname === "/ui/" ? "index.html" : pathname.replace(/^\/ui\//, "");
    if (!folder || !KINDS[name]) return request.continue();
    const real = await fetch(request.url());
    const headers = { "content-security-policy": real.headers.get("content-security-policy") };
    request.respond({ status: real.status, contentType: KINDS[name], headers, body: readFileSync(join(folder, name)) });
  });
}

/** A fresh tab on a gateway's page; `complaints` is all that it should not have said. */
export async function openPage(browser, gateway, { width = 1440, height = 900, scheme = "light", key = "", canned = null } = {}) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    page.complaints.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.evaluateOnNewDocument((storage) => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    if (storage) sessionStorage.setItem("pointsman.operator", storage);
  }, key);
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([
    { name: "prefers-color-scheme", value: scheme },
    { name: "prefers-reduced-motion", value: "reduce" },
  ]);
  await serveInstead(page, canned);
  await page.goto(`${gateway.admin}/ui/`);
  page.text = (selector) => page.$eval(selector, (found) => found.innerText);
  page.rows = (selector) => page.$$eval(`${selector} tr`, (found) => found.map((row) => [...row.cells].map((cell) => cell.innerText)));
  page.seen = (selector) => page.$eval(selector, (found) => !found.closest("[hidden]"));
  page.set = (selector, value) => page.$eval(selector, (field, text) => {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }, value);
  page.violations = () => page.evaluate(() => [...window.violations, ...(window.broken ? [`broken: ${window.broken}`] : [])]);
  page.leave = () => context.close();
  return page;
}

export async function live(page) {
  await until("the stream of decisions", async () => (await page.text("#state")) === "Live");
}

/** What axe finds that is serious or critical. */
export async function faults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
}
