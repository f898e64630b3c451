// The operators' page in a browser, on a gateway with scripted upstreams.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { HOSTILE, OPERATOR, configuration, faults, live, openBrowser, openGateway, openPage, openUpstream, pause, until } from "./stand.mjs";

const PROMPTS = ["hi", "What is 2 + 2?", "Write a short poem about the sea.", "Prove that there are infinitely many primes of the form 4k + 3.",
  "A train leaves at 3 pm at 60 mph and another at 4 pm at 80 mph. When does the second catch up with the first?"];

let weak, strong, gateway, browser, page;
before(async () => {
  [weak, strong, browser] = await Promise.all([openUpstream("weak"), openUpstream("strong"), openBrowser()]);
  gateway = await openGateway(configuration(weak, strong));
  for (const prompt of PROMPTS) assert.equal(await gateway.chat("auto", prompt), 200);
});
after(async () => {
  await browser?.close();
  await gateway?.close();
  await Promise.all([weak?.close(), strong?.close()]);
});

const open = async (options = {}) => {
  page = await openPage(browser, options.gateway ?? gateway, { key: OPERATOR, ...options });
  return page;
};
afterEach(async () => {
  if (!page) return;
  const left = page;
  page = null;
  const violations = await left.violations();
  const complaints = left.complaints.filter((text) => !left.expected?.test(text));
  await left.leave();
  assert.deepEqual([...complaints, ...violations], [], "the console is silent and nothing breaks the policy");
});

const shownCount = async () => (await page.rows("#decision-rows")).length;

describe("the key", () => {
  test("is asked for, refused when wrong, kept for the tab", async () => {
    await open({ key: "" });
    page.expected = /status of 401/;
    await until("the form", () => page.seen("#door"));
    assert.equal(await page.evaluate(() => document.activeElement.id), "door-key");
    for (const wrong of ["wrong", "naïve 🚂"]) {
      await page.$eval("#door-key", (field) => (field.value = ""));
      await page.type("#door-key", wrong);
      await page.keyboard.press("Enter");
      await until("a word", async () => /^Wrong key/.test(await page.text("#door-error")));
    }
    await page.$eval("#door-key", (field) => (field.value = ""));
    await page.type("#door-key", OPERATOR);
    await page.keyboard.press("Enter");
    await live(page);
    assert.equal(await page.seen("#door"), false);
    assert.deepEqual(await page.evaluate(() => [Object.values(sessionStorage), localStorage.length, document.cookie]), [[OPERATOR], 0, ""]);
    await page.reload();
    await live(page);
    await page.click("#forget");
    await until("the form", () => page.seen("#door"));
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  });

  test("that holds no more is told", async () => {
    await open({ key: "revoked" });
    page.expected = /status of 401/;
    await until("a word", async () => /not accepted any more/.test(await page.text("#door-error")));
  });
});

describe("decisions", () => {
  test("appear without a reload, newest first, with how they ended", async () => {
    await open();
    await live(page);
    const before = await until("the earlier ones", shownCount);
    assert.ok(before >= PROMPTS.length);
    await gateway.chat("auto", "What is the capital of France?");
    await until("the new one", async () => (await shownCount()) === before + 1);
    const [time, tenant, route, router, rate, model, ended, took] = (await page.rows("#decision-rows"))[0];
    assert.match(time, /^\d\d:\d\d:\d\d$/);
    assert.deepEqual([tenant, route, router], ["research", "auto", "mf"]);
    assert.match(rate, /^0\.\d{3} \/ 0\.700$/);
    assert.ok(["weak", "strong"].includes(model));
    assert.match(took, /^[\d.,]+ (µs|ms)$/);
    await until("its end", async () => (await page.rows("#decision-rows"))[0][6] === "ok", 5).catch(() => assert.fail(ended));
  });

  test("wait while paused, and are filtered", async () => {
    await open();
    await live(page);
    const before = await until("the earlier ones", shownCount);
    await page.click("#pause");
    assert.equal(await page.$eval("#pause", (button) => button.ariaPressed), "true");
    assert.equal(await gateway.chat("fixed", "hi", "sk-other"), 200);
    await until("the count", async () => (await page.text("#decisions-count")).endsWith(", 1 more since the pause") || assert.fail(await page.text("#decisions-count")));
    assert.equal(await shownCount(), before);
    await page.click("#pause");
    await until("the new one", async () => (await shownCount()) === before + 1);
    await page.select("#filter-route", "fixed");
    const fixed = await page.rows("#decision-rows");
    assert.ok(fixed.length > 0 && fixed.every((row) => row[2] === "fixed"));
    await page.select("#filter-tenant", "research");
    assert.equal(await shownCount(), 0);
    assert.match(await page.text("#decisions-none"), /fits the filter/);
    await page.select("#filter-route", "");
    await page.select("#filter-model", "strong");
    assert.ok((await page.rows("#decision-rows")).every((row) => row[5] === "strong" && row[1] === "research"));
  });

  test("have details, opened and closed by keys", async () => {
    await open();
    await live(page);
    await until("rows", shownCount);
    await page.select("#filter-route", "auto");
    await page.focus("#decision-rows button");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "details-title");
    const text = await page.text("#details-body");
    for (const part of ["req_", "research", "auto, by mf", "beats every cheaper one with at least 0.7", "Candidates", "weak", "strong", "$", "Win rates, row against column", " › "]) assert.ok(text.includes(part), part);
    const rates = await page.$$eval("#details-body .block:last-child td.number", (cells) => cells.map((cell) => Number(cell.textContent || NaN)).filter(Number.isFinite).filter(Boolean));
    assert.equal(rates.length, 2);
    assert.ok(Math.abs(rates[0] + rates[1] - 1) < 0.011, String(rates));
    await page.keyboard.press("Escape");
    assert.equal(await page.seen("#details"), false);
    assert.equal(await page.evaluate(() => document.activeElement.closest("#decision-rows") !== null), true);
  });
});

test("the overview, shares and spend", async () => {
  await open();
  await live(page);
  await until("the overview", async () => /^\d[\d,.]* since the start$/.test(await page.text("#tile-rate-more")));
  assert.match(await page.text("#tile-spend"), /^\$\d/);
  assert.match(await page.text("#tile-saved"), /^−?\$\d/);
  await gateway.chat("strong", "hi");
  await until("a rate", async () => /^(?!0 )[\d.]+ \/s$/.test(await page.text("#tile-rate")));
  for (const chart of ["share", "model", "tenant"]) {
    const label = await page.$eval(`#chart-${chart} svg`, (picture) => picture.getAttribute("aria-label"));
    await page.click(`#chart-${chart} summary`);
    const lines = await page.rows(`#chart-${chart} tbody`);
    assert.ok(lines.length > 0);
    for (const [name] of lines) assert.ok(label.includes(name), `${label} has ${name}`);
  }
});

test("budgets show what was spent", async () => {
  await open();
  await live(page);
  const spent = async () => Number(/\$([\d.,]+) spent, \$\S+ held of \$50\.00 a month/.exec(await page.text("#budget-list"))?.[1]);
  const before = await until("the budget", spent);
  await gateway.chat("strong", "hi");
  await until("a quarter more", async () => Math.abs((await spent()) - before - 0.25) < 0.001);
  const width = await page.$eval("#budget-list .bar > i", (bar) => parseFloat(bar.style.width));
  assert.ok(Math.abs(width - (before + 0.25) * 2) < 0.02, `${width} % of the bar for ${before + 0.25} USD`);
  assert.match(await page.text("#budget-none"), /Without a budget/);
});

describe("what if", () => {
  test("the threshold in force changes nothing; the ends choose one model", async () => {
    await open();
    await live(page);
    const rows = () => page.rows("#whatif-rows");
    await page.select("#whatif-route", "auto").catch(() => {});
    await until("decisions", async () => (await rows()).length === 2);
    await page.select("#whatif-route", "auto");
    assert.equal(await page.$eval("#whatif-number", (field) => field.value), "0.7");
    assert.match(await page.text("#whatif-sum"), /^0 of \d+ decisions would change at 0\.700\.$/);
    const chosen = (await rows()).map((row) => row[1]);
    assert.deepEqual((await rows()).map((row) => row[2]), chosen);
    await page.focus("#whatif-range");
    const all = String(Number(/of (\d+)/.exec(await page.text("#whatif-sum"))[1]));
    await page.keyboard.press("Home");
    assert.deepEqual((await rows()).map((row) => [row[0], row[2]]), [["strong", `${all} (100 %)`], ["weak", "0 (0 %)"]]);
    const dear = await page.text("#whatif-cost-is");
    await page.keyboard.press("End");
    assert.equal(await page.$eval("#whatif-number", (field) => field.value), "1");
    assert.deepEqual((await rows()).map((row) => [row[0], row[2]]), [["strong", "0 (0 %)"], ["weak", `${all} (100 %)`]]);
    assert.match(await page.text("#whatif-cost-change"), /less$/);
    const amount = (text) => Number(text.replace(/[$,]/g, ""));
    assert.ok(amount(await page.text("#whatif-cost-is")) < amount(dear));
    await page.set("#whatif-number", "0.7");
    assert.equal(await page.$eval("#whatif-range", (field) => field.value), "0.7");
    assert.deepEqual((await rows()).map((row) => row[2]), chosen);
  });
});

test("what if chooses as the rule says, among several models and some equally dear", async () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const made = Array.from({ length: 80 }, (_, index) => {
    const scores = ["a", "b", "c", "d"].map((model) => ({ model, skill: Math.round(random() * 8) / 2 - 2, cost_usd: Math.ceil(random() * 3) / 1000 }));
    return { seq: index + 1, at: "2030-01-01T00:00:00Z", request_id: `req_${index}`, tenant: "t", route: "auto", router: "mf", model: "a", ranking: ["a"], rule: { kind: "threshold", threshold: 0.5, split: 1 }, scores, decision_us: 1 };
  });
  // Word by word: it beats all that are cheaper, nobody as dear is more skilled, and it is the dearest of those.
  const choice = (scores, threshold) => {
    const wins = (one, other) => 1 / (1 + Math.exp(other.skill - one.skill)) >= threshold;
    const competing = scores.filter((one) => scores.every((other) => other.cost_usd !== one.cost_usd || other.skill <= one.skill));
    const fit = competing.filter((one) => scores.every((other) => other.cost_usd >= one.cost_usd || wins(one, other)));
    return fit.reduce((dearest, one) => (one.cost_usd > dearest.cost_usd ? one : dearest));
  };
  await open({ canned: { "/admin/decisions": ["text/event-stream", made.map((one) => `event: decision\ndata: ${JSON.stringify(one)}\n\n`).join("")] } });
  await until("all of them", async () => (await page.text("#whatif-sum")).includes("of 80 decisions"));
  for (const threshold of [0, 0.2, 0.5, 0.55, 0.8, 1]) {
    await page.set("#whatif-number", String(threshold));
    const chosen = made.map((one) => choice(one.scores, threshold));
    const wanted = ["a", "b", "c", "d"].map((name) => chosen.filter(({ model }) => model === name).length);
    assert.deepEqual((await page.rows("#whatif-rows")).map((row) => parseInt(row[2], 10)), wanted, `at ${threshold}`);
    const cost = chosen.reduce((sum, one) => sum + one.cost_usd, 0) / 80 * 1000;
    assert.equal(await page.text("#whatif-cost-is"), `$${cost.toFixed(2)}`);
  }
  await until("a word to listeners", async () => (await page.text("#whatif-said")).includes("at 1.000"));
});

describe("the playground", () => {
  const ask = async (prompt, { tenant = "research", model = "auto", other = "" } = {}) => {
    await until("tenants", () => page.$("#play-tenant option"));
    await page.select("#play-tenant", tenant);
    await page.select("#play-model", model);
    await page.select("#play-other", other);
    await page.type("#play-prompt", prompt);
    await page.click("#play-send");
  };
  const ended = (text) => until(text, async () => (await page.text("#play-state")).includes(text));
  const answers = () => page.$$eval(".answer", (found) => found.map((one) => ({ who: one.querySelector("h3").innerText, facts: one.querySelector(".muted").innerText, said: one.querySelector(".said").textContent, error: one.querySelector(".bad").innerText })));

  test("shows the decision and both answers side by side", async () => {
    await open();
    await live(page);
    await ask("good morning", { other: "strong" });
    await ended("Both answers are complete.");
    const [first, second] = await answers();
    assert.match(first.who, /^auto → (weak|strong)$/);
    assert.match(first.said, /^(weak|strong) heard: good morning$/);
    assert.equal(second.said, "strong heard: good morning");
    for (const { facts, error } of [first, second]) {
      assert.match(facts, /^first token after [\d.]+ m?s · 500 tokens of answer, 1,000 of prompt · [\d.]+ m?s$/);
      assert.equal(error, "");
    }
    const decision = await page.text("#play-decision");
    for (const part of ["auto, by mf", "Candidates", "Win rates"]) assert.ok(decision.includes(part), part);
    const [left, right] = await page.$$eval(".answer", (found) => found.map((one) => one.getBoundingClientRect().x));
    assert.ok(left < right);
  });

  test("streams, and stops when told to", async () => {
    await open();
    await live(page);
    await ask("{{slow}}", { model: "fixed" });
    await until("some of the answer", async () => (await answers())[0].said.length > 10);
    assert.equal(await page.$eval("#play-send", (button) => button.disabled), true);
    await page.click("#play-stop");
    await ended("Stopped.");
    const [{ said }] = await answers();
    await pause(400);
    assert.equal((await answers())[0].said, said);
    await until("the end of it", async () => (await page.rows("#decision-rows"))[0][6].startsWith("cancelled"));
  });

  test("shows errors, before the answer and in it", async () => {
    await open();
    await live(page);
    await ask("{{cut}}", { model: "strong", other: "weak" });
    await ended("No answer is complete");
    for (const { said, error } of await answers()) {
      assert.ok(said.length > 0);
      assert.ok(error.length > 0);
    }
    await page.$eval("#play-prompt", (field) => (field.value = ""));
    page.expected = /status of 4/;
    await page.$eval("#play-tokens", (field) => (field.value = "100000"));
    await page.evaluate(() => document.querySelector("#play-model").append(new Option("gone", "gone")));
    await ask("hi", { model: "gone" });
    await ended("No answer is complete");
    assert.match((await answers())[0].error, /^404: /);
  });

  test("a hostile answer stays text", async () => {
    await open();
    await live(page);
    await ask("{{hostile}}", { tenant: "other", model: "weak" });
    await ended("The answer is complete.");
    assert.equal((await answers())[0].said, HOSTILE);
    assert.equal(await page.$$eval("img, body script", (found) => found.length), 0);
  });
});

// The gateway itself takes no such names.
test("hostile names stay text, wherever they stand", async () => {
  const rule = { kind: "threshold", threshold: 0.5, split: 1 };
  const scores = [{ model: HOSTILE, skill: 1, cost_usd: 1 }, { model: "weak", skill: 0, cost_usd: 0.1 }];
  const decision = { seq: 1, at: HOSTILE, request_id: HOSTILE, tenant: HOSTILE, route: HOSTILE, router: HOSTILE, model: HOSTILE, ranking: [HOSTILE], rule, win_rate: 0.7, scores, fail_open: HOSTILE, decision_us: 1 };
  const ending = { request_id: HOSTILE, tenant: HOSTILE, route: HOSTILE, model: HOSTILE, outcome: HOSTILE, code: HOSTILE, duration_ms: 1, tokens: 1 };
  const label = HOSTILE.replaceAll('"', '\\"');
  const metrics = [`pointsman_requests_total{tenant="${label}",route="r",model="${label}",outcome="ok"} 1`, `pointsman_cost_usd_total{tenant="${label}",model="${label}"} 1`, `pointsman_build_info{version="${label}"} 1`,
    ...["limit", "spent", "held"].map((part) => `pointsman_budget_${part}_usd{tenant="${label}",project="${label}",key="none",per="${label}"} 1`),
    `pointsman_attempts_total{model="${label}",result="${label}"} 1`, `pointsman_limited_total{tenant="${label}",limit="tokens"} 1`];
  const canned = {
    "/admin/pools": ["application/json", JSON.stringify({ tenants: [{ name: HOSTILE, default_route: HOSTILE, routes: [HOSTILE], models: [HOSTILE] }] })],
    "/admin/decisions": ["text/event-stream", `event: decision\ndata: ${JSON.stringify(decision)}\n\nevent: ended\ndata: ${JSON.stringify({ seq: 2, ...ending })}\n\n`],
    "/metrics": ["text/plain", `${metrics.join("\n")}\n`],
  };
  await open({ canned });
  await until("the row", shownCount);
  await page.click("#decision-rows button");
  for (const place of ["#decision-rows", "#details-body", "#whatif-rows", "#budget-list", "#budget-none", "#upstream-rows", "#version", "#play-tenant", "#play-model", "#filter-route"]) {
    await until(place, () => page.$eval(place, (found, text) => found.textContent.includes(text), HOSTILE));
  }
  await until("the spend", () => page.$eval("#chart-tenant svg", (picture, text) => picture.getAttribute("aria-label").includes(text), HOSTILE));
  assert.equal(await page.$$eval("img, body script", (found) => found.length), 0);
});

describe("for everybody", () => {
  for (const width of [360, 1440]) {
    for (const scheme of ["light", "dark"]) {
      test(`${width} px, ${scheme}: nothing sticks out, axe finds nothing grave`, async () => {
        await open({ width, scheme, height: 740 });
        await live(page);
        await until("rows", shownCount);
        await until("the overview", async () => /since/.test(await page.text("#tile-rate-more")));
        await page.click("#decision-rows button");
        for (const summary of await page.$$("summary")) await summary.evaluate((one) => one.click());
        await page.select("#play-tenant", "research");
        await page.select("#play-other", "weak");
        await page.type("#play-prompt", `a-very-long-word-${"x".repeat(300)}`);
        await page.click("#play-send");
        await until("answers", async () => (await page.text("#play-state")).includes("Both answers"));
        const [wide, ground] = await page.evaluate(() => [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]);
        assert.equal(wide, width);
        const brightness = Number(/\d+/.exec(ground)[0]);
        assert.ok(scheme === "dark" ? brightness < 60 : brightness > 200, ground);
        assert.deepEqual(await faults(page), []);
      });
    }
  }

  test("axe finds nothing grave in the form for the key", async () => {
    for (const scheme of ["light", "dark"]) {
      const form = await openPage(browser, gateway, { scheme });
      await until("the form", () => form.seen("#door"));
      assert.deepEqual(await faults(form), []);
      await form.leave();
    }
  });

  test("the keyboard alone reaches everything, and shows where it is", async () => {
    await open();
    await live(page);
    await until("rows", shownCount);
    await until("charts", () => page.$("#chart-tenant summary"));
    await page.click("#pause");
    await page.evaluate(() => {
      document.activeElement.blur();
      document.querySelector(".skip").focus();
    });
    const wanted = await page.evaluate(() => {
      const all = document.querySelectorAll('a[href], button, select, input, textarea, summary, [tabindex="0"]');
      const usable = [...all].filter((one) => one.checkVisibility() && !one.disabled);
      usable.forEach((one, index) => (one.dataset.probe = String(index)));
      return usable.map((one) => one.id || one.textContent.slice(0, 20) || one.className);
    });
    const reached = new Set();
    const unseen = [];
    for (let step = 0; step < wanted.length + 20 && reached.size < wanted.length; step += 1) {
      const [probe, isSeen, what] = await page.evaluate(() => {
        const style = getComputedStyle(document.activeElement);
        return [document.activeElement.dataset.probe, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0, document.activeElement.outerHTML.slice(0, 80)];
      });
      if (probe !== undefined) reached.add(Number(probe));
      if (!isSeen && probe !== undefined && step > 0) unseen.push(what);
      await page.keyboard.press("Tab");
    }
    assert.deepEqual(wanted.filter((_, index) => !reached.has(index)), []);
    assert.deepEqual(unseen, []);
  });
});

describe("without operators' keys", () => {
  test("there is no form, and the playground says what it needs; a restart is got over", async () => {
    let open_ = await openGateway(configuration(weak, strong, { withKeys: false }));
    try {
      await open_.chat("auto", "hi");
      await open_.chat("auto", "hi again");
      await open({ gateway: open_, key: "" });
      page.expected = /status of 403|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/;
      await live(page);
      assert.equal(await page.seen("#door"), false);
      await until("tenants", () => page.$("#play-tenant option"));
      await page.type("#play-prompt", "hi");
      await page.click("#play-send");
      await until("the word", async () => (await page.seen("#play-gate")) && /admin_keys/.test(await page.text("#play-gate")));
      await until("both", async () => (await shownCount()) === 2);
      const adminPort = new URL(open_.admin).port;
      await open_.close();
      await until("the loss", async () => (await page.text("#state")) === "Reconnecting…");
      open_ = await openGateway(configuration(weak, strong, { withKeys: false, adminPort }));
      await open_.chat("auto", "hello");
      await until("the third", async () => (await shownCount()) === 3, 25);
      await live(page);
    } finally {
      await open_.close();
    }
  });
});

// The last: it leaves the upstream's breaker open.
test("a broken upstream shows as such", async () => {
  await open();
  await live(page);
  const row = async () => (await page.rows("#upstream-rows")).find(([name]) => name === "weak");
  await until("the upstreams", async () => (await row())?.[1] === "closed");
  weak.broken = true;
  for (let call = 0; call < 4; call += 1) await gateway.chat("fixed", "hi");
  await until("the breaker", async () => (await row())[1] === "open");
  const [, , recent, all, results, , fallbacks] = await row();
  assert.match(recent, /^[1-9][\d.]* %$/);
  assert.match(all, /^[1-9]/);
  assert.match(results, /ok \d+/);
  assert.match(results, /upstream_\w+ 3|status_500 3|\w+ 3/);
  assert.ok(Number(fallbacks) >= 3, fallbacks);
  assert.match(await page.text("#decision-rows tr td:nth-child(6)"), /^weak → strong$/);
});
