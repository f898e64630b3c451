// The operators' page: what the gateway decides, spends and suffers, from its own admin endpoints. Whatever comes from the gateway is
// written as text, never as HTML.

const DECISIONS_MAX = 1000;
const ROWS_MAX = 100;
const ENDINGS_MAX = 1000;
const DRAW_MS = 250;
const POLL_MS = 2000;
const HISTORY_MS = 300_000;
const RATE_MS = 60_000;
/** Longer than the gateway's comments are apart. */
const SILENCE_MS = 60_000;
const BACKOFF_MS = [1000, 2000, 4000, 8000, 15_000, 30_000];
const LIST_MAX = 50;
const KEY = "pointsman.operator";
const ALL = "";

// ---- Elements ----

const at = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

/** Sets text where it differs, so that nothing is announced or repainted for nothing. */
function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

/** Does work once however often it is asked for within a while. */
function soon(work, wait = DRAW_MS) {
  let waiting = null;
  return () => {
    waiting ??= setTimeout(() => {
      waiting = null;
      work();
    }, wait);
  };
}

/** The options of a select, keeping what is chosen if it is still there. */
function options(select, wanted) {
  const signature = JSON.stringify(wanted);
  if (select.dataset.options === signature) return;
  select.dataset.options = signature;
  const before = select.value;
  const option = ([value, label]) => el("option", { value }, label);
  const made = wanted.map((one) => (one.group ? el("optgroup", { label: one.group }, ...one.options.map(option)) : option(one)));
  select.replaceChildren(...made);
  if ([...select.options].some((one) => one.value === before)) select.value = before;
}

// ---- Numbers ----

const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });
const clamp = (share) => Math.min(1, Math.max(0, share));

function percent(share) {
  if (!Number.isFinite(share)) return "–";
  return `${number(share * 100, Math.abs(share) < 0.1 ? 1 : 0)} %`;
}

function usd(amount) {
  if (!Number.isFinite(amount)) return "–";
  const size = Math.abs(amount);
  if (size === 0 || size >= 1) return `${amount < 0 ? "−" : ""}$${size.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  const digits = size >= 0.01 ? { minimumFractionDigits: 2, maximumFractionDigits: 4 } : { maximumSignificantDigits: 3 };
  return `${amount < 0 ? "−" : ""}$${size.toLocaleString("en", digits)}`;
}

function micros(us) {
  if (us === undefined || us === null) return "–";
  return us < 1000 ? `${us} µs` : `${number(us / 1000, us < 100_000 ? 1 : 0)} ms`;
}

const millis = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${number(ms / 1000, 2)} s`);

function clock(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return String(text);
  const two = (part) => String(part).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** An instant in UTC, to the millisecond. */
function moment(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? String(text) : time.toISOString();
}

/** P(a beats b), a tie counted half. */
const beats = (skillA, skillB) => 1 / (1 + Math.exp(skillB - skillA));

// ---- The operator's key, and requests with it ----

class Unauthorized extends Error {}

const operator = {
  get key() {
    try {
      return sessionStorage.getItem(KEY) ?? "";
    } catch {
      return this.kept ?? "";
    }
  },
  set key(value) {
    this.kept = value;
    try {
      if (value) sessionStorage.setItem(KEY, value);
      else sessionStorage.removeItem(KEY);
    } catch {
      // Without storage it holds until the page is left.
    }
  },
};

/** A request of the gateway; 401 asks for the key. Paths are relative to the folder above the page's. */
async function ask(path, { key = operator.key, headers = {}, ...init } = {}) {
  const given = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  const answer = await fetch(new URL(`../${path}`, document.baseURI), { cache: "no-store", credentials: "omit", ...init, headers: given });
  if (answer.status === 401) {
    await answer.body?.cancel().catch(() => {});
    throw new Unauthorized("the key is not accepted");
  }
  return answer;
}

/** What went wrong, as an answer that is not a success tells it. */
async function fault(answer) {
  let said = "";
  try {
    const text = await answer.text();
    said = text.slice(0, 300);
    said = JSON.parse(text).error?.message ?? said;
  } catch {
    // What it said is no JSON: it stands as it is.
  }
  return `${answer.status}${said ? `: ${said}` : ""}`;
}

let doorIsOpen = true;

function showDoor(why = "") {
  const was = doorIsOpen;
  doorIsOpen = false;
  at("door").hidden = false;
  at("forget").hidden = true;
  say(at("door-error"), why);
  state("broken", "A key is needed");
  if (was || why) at("door-key").focus();
}

function openDoor() {
  doorIsOpen = true;
  at("door").hidden = true;
  say(at("door-error"), "");
  at("forget").hidden = !operator.key;
}

/** A 401 in the middle of things: the form, with a word where a key was given. */
function turnedAway() {
  if (!doorIsOpen && !operator.key) return;
  showDoor(operator.key ? "This key is not accepted any more." : "");
  operator.key = "";
}

at("door-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = at("door-key");
  const key = field.value.trim();
  if (!key) return;
  say(at("door-error"), "");
  try {
    if (!/^[\x21-\x7e]+$/.test(key)) throw new Unauthorized();
    const answer = await ask("admin/pools", { key });
    if (!answer.ok) throw new Error(await fault(answer));
    operator.key = key;
    field.value = "";
    takePools(await answer.json());
    openDoor();
    at("main").focus();
    follow();
  } catch (error) {
    field.select();
    showDoor(error instanceof Unauthorized ? "Wrong key: the gateway does not accept it." : `The key could not be checked: ${error.message}`);
  }
});

at("forget").addEventListener("click", () => {
  operator.key = "";
  location.reload();
});

// ---- State of the connection ----

function state(kind, text) {
  at("state").dataset.state = kind;
  say(at("state"), text);
}

// ---- Server-sent events ----

/** Reads events from a body as they come. Ends with the body; throws where it falls silent. */
async function readEvents(body, take) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let event = { type: "message", id: null, data: [] };
  const line = (text) => {
    if (text === "") {
      const over = event.data.length > 0 ? take(event.type, event.data.join("\n"), event.id) : false;
      event = { type: "message", id: null, data: [] };
      return over === true;
    }
    const colon = text.indexOf(":");
    if (colon === 0) return false;
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (name === "data") event.data.push(value);
    else if (name === "event") event.type = value;
    else if (name === "id") event.id = value;
    return false;
  };
  try {
    for (;;) {
      let timer;
      const silence = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("the stream fell silent")), SILENCE_MS);
      });
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      let end;
      // A return at the very end may be half of a line's end.
      while ((end = rest.search(/\r\n|\n|\r(?=.)/s)) >= 0) {
        const text = rest.slice(0, end);
        rest = rest.slice(end + (rest.startsWith("\r\n", end) ? 2 : 1));
        if (line(text)) return;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// ---- Decisions ----

/** The recent decisions, oldest first. */
const decisions = [];
const byRequest = new Map();
/** Endings of which the decision has not come (yet). */
const endings = new Map();
let lastSeq = 0;
let failures = 0;
let stopFollowing = null;

async function follow() {
  stopFollowing?.abort();
  const stop = new AbortController();
  stopFollowing = stop;
  for (;;) {
    try {
      const answer = await ask(`admin/decisions${lastSeq ? `?after=${lastSeq}` : ""}`, { headers: { Accept: "text/event-stream" }, signal: stop.signal });
      if (!answer.ok || !answer.body) throw new Error(await fault(answer), { cause: answer.status });
      if (!doorIsOpen || operator.key) openDoor();
      failures = 0;
      state("live", "Live");
      at("state").title = "";
      await readEvents(answer.body, takeEvent);
      throw new Error("the stream has ended");
    } catch (error) {
      if (stop.signal.aborted) return;
      if (error instanceof Unauthorized) return turnedAway();
      const wait = BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)];
      failures += 1;
      state("broken", error.cause ? `Reconnecting after ${error.cause}…` : "Reconnecting…");
      at("state").title = error.message;
      await new Promise((resolve) => setTimeout(resolve, wait * (0.75 + Math.random() / 2)));
      if (stop.signal.aborted) return;
    }
  }
}

function takeEvent(type, data) {
  let value;
  try {
    value = JSON.parse(data);
  } catch {
    return;
  }
  if (Number.isFinite(value.seq)) {
    // Nothing that was had already is asked for again: this is another gateway, or the same one started anew.
    if (value.seq <= lastSeq) return startAnew();
    lastSeq = value.seq;
  }
  if (type === "decision") takeDecision(value);
  else if (type === "ended") takeEnding(value);
  drawDecisions();
}

function takeDecision(value) {
  const decision = { ...value, scores: value.scores ?? [], ranking: value.ranking ?? [], ended: endings.get(value.request_id) ?? null };
  endings.delete(value.request_id);
  decisions.push(decision);
  byRequest.set(value.request_id, decision);
  while (decisions.length > DECISIONS_MAX) {
    const gone = decisions.shift();
    if (byRequest.get(gone.request_id) === gone) byRequest.delete(gone.request_id);
  }
}

function takeEnding(value) {
  const decision = byRequest.get(value.request_id);
  if (decision) {
    decision.ended = value;
    return;
  }
  endings.set(value.request_id, value);
  if (endings.size > ENDINGS_MAX) endings.delete(endings.keys().next().value);
}

/** The gateway has started anew: its numbers begin at the beginning. */
function startAnew() {
  lastSeq = 0;
  endings.clear();
  for (const decision of decisions) decision.ended ??= { outcome: "unknown" };
  if (doorIsOpen) follow();
}

// ---- The table of decisions ----

const rows = new Map();
let shown = null;
let opened = null;
let openedFrom = null;

const OUTCOMES = { ok: ["ok", "good"], client_error: ["client error", "warn"], limited: ["limited", "warn"], gateway_error: ["gateway error", "bad"], upstream_error: ["upstream error", "bad"], cancelled: ["cancelled", "muted"] };

function filtered(list) {
  const [tenant, route, model] = ["tenant", "route", "model"].map((name) => at(`filter-${name}`).value);
  return list.filter((one) => (!tenant || one.tenant === tenant) && (!route || one.route === route) && (!model || (one.ended?.model ?? one.model) === model || one.model === model));
}

const names = (key) => [...new Set(decisions.map((one) => one[key]).filter(Boolean))].sort();
const withAll = (word, list) => [[ALL, word], ...list.map((name) => [name, name])];

function outcome(decision) {
  const ended = decision.ended;
  if (!ended) return el("span", { className: "muted" }, "running");
  const [word, kind] = OUTCOMES[ended.outcome] ?? [String(ended.outcome), ""];
  return el("span", { className: kind }, ended.code ? `${word} (${ended.code})` : word);
}

/** The win rate of the dearest model as a bar, with the threshold as a mark. */
function winBar(decision) {
  const threshold = decision.rule?.kind === "threshold" ? decision.rule.threshold : undefined;
  if (!Number.isFinite(decision.win_rate)) return el("span", { className: "muted" }, decision.fail_open ? `not asked: ${decision.fail_open}` : "–");
  const bar = el("span", { className: "bar", "aria-hidden": "true" }, piece("", 0, decision.win_rate));
  if (Number.isFinite(threshold)) {
    const mark = el("i", { className: "mark" });
    mark.style.left = `${clamp(threshold) * 100}%`;
    bar.append(mark);
  }
  const text = Number.isFinite(threshold) ? `${decision.win_rate.toFixed(3)} / ${threshold.toFixed(3)}` : decision.win_rate.toFixed(3);
  return el("span", { className: "win" }, bar, text);
}

function piece(kind, from, share) {
  const part = el("i", { className: kind });
  part.style.left = `${clamp(from) * 100}%`;
  part.style.width = `${clamp(Math.min(share, 1 - clamp(from))) * 100}%`;
  return part;
}

function rowOf(decision) {
  const button = el("button", { type: "button", className: "link", "aria-label": `${clock(decision.at)}, details of the decision for ${decision.tenant}` }, clock(decision.at));
  const model = el("td", {});
  const result = el("td", {});
  const row = el("tr", {}, el("td", {}, button), el("td", {}, decision.tenant), el("td", { className: "extra" }, decision.route), el("td", { className: "extra" }, decision.router),
    el("td", {}, winBar(decision)), model, result, el("td", { className: "number extra" }, micros(decision.decision_us)));
  row.addEventListener("click", () => open(decision, button));
  return { row, model, result, ended: undefined };
}

function fill(made, decision) {
  if (made.ended === decision.ended) return;
  made.ended = decision.ended;
  const answered = decision.ended?.model;
  const chosen = decision.model ?? "none";
  made.model.replaceChildren(answered && answered !== decision.model ? `${chosen} → ${answered}` : chosen);
  made.result.replaceChildren(outcome(decision));
}

function drawTable() {
  const source = shown ?? decisions;
  const fitting = filtered(source);
  const wanted = fitting.slice(-ROWS_MAX).reverse();
  const body = at("decision-rows");
  const keep = new Set(wanted);
  for (const [decision, made] of rows) {
    if (keep.has(decision)) continue;
    made.row.remove();
    rows.delete(decision);
  }
  let place = body.firstElementChild;
  for (const decision of wanted) {
    let made = rows.get(decision);
    if (!made) rows.set(decision, (made = rowOf(decision)));
    fill(made, decision);
    made.row.classList.toggle("open", decision === opened);
    if (made.row === place) place = place.nextElementSibling;
    else body.insertBefore(made.row, place);
  }
  at("decisions-none").hidden = wanted.length > 0;
  say(at("decisions-none"), source.length ? "No recent decision fits the filter." : "No decisions yet. They appear here as requests arrive.");
  const behind = shown ? decisions.length - 1 - decisions.lastIndexOf(shown.at(-1)) : 0;
  say(at("decisions-count"), `${number(wanted.length)} of ${number(source.length)} recent${behind ? `, ${number(behind)} more since the pause` : ""}`);
}

at("pause").addEventListener("click", () => {
  shown = shown ? null : [...decisions];
  at("pause").setAttribute("aria-pressed", String(Boolean(shown)));
  drawTable();
});
for (const name of ["tenant", "route", "model"]) at(`filter-${name}`).addEventListener("change", drawTable);

const drawDecisions = soon(() => {
  for (const name of ["tenant", "route", "model"]) options(at(`filter-${name}`), withAll("all", names(name)));
  drawTable();
  drawShares();
  drawWhatIf();
  if (opened && opened.ended !== opened.drawn) drawDetails();
});

// ---- Details of one decision ----

function open(decision, from) {
  opened = decision;
  openedFrom = from;
  at("details").hidden = false;
  drawDetails();
  at("details-title").focus({ preventScroll: true });
  at("details").scrollIntoView({ block: "nearest" });
  drawTable();
}

function closeDetails() {
  opened = null;
  at("details").hidden = true;
  drawTable();
  if (openedFrom?.isConnected) openedFrom.focus();
  else document.querySelector("#decisions .scroll").focus();
}

at("details-close").addEventListener("click", closeDetails);
at("details").addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDetails();
});

function drawDetails() {
  opened.drawn = opened.ended;
  const ended = opened.ended;
  const facts = [["Request", opened.request_id], ["Time", moment(opened.at)], ["Tenant", opened.tenant], ["Outcome", outcome(opened)]];
  if (ended?.model) facts.push(["Answered by", ended.model]);
  if (Number.isFinite(ended?.duration_ms)) facts.push(["Took", millis(ended.duration_ms)]);
  if (Number.isFinite(ended?.tokens)) facts.push(["Tokens", number(ended.tokens)]);
  if (Number.isFinite(ended?.cost_usd)) facts.push(["Cost", usd(ended.cost_usd)]);
  const hadFocus = at("details-body").contains(document.activeElement);
  at("details-body").replaceChildren(factList(facts), ...explained(opened));
  if (hadFocus) at("details-title").focus({ preventScroll: true });
}

const factList = (facts) => el("dl", { className: "facts" }, ...facts.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));

function ruleText(rule) {
  if (!rule) return "–";
  if (rule.kind === "threshold") {
    const solved = Number.isFinite(rule.strong_share) ? `, solved for a share of ${percent(rule.strong_share)}` : "";
    const split = Number.isFinite(rule.split) && rule.split < 1 ? `; of requests at exactly that, ${percent(rule.split)}` : "";
    return `the dearest that beats every cheaper one with at least ${number(rule.threshold, 4)}${solved}${split}`;
  }
  if (rule.kind === "utility") return `the highest win probability less ${number(rule.lambda, 4)} × cost in USD`;
  if (rule.kind === "order") return "the order of the configuration";
  return String(rule.kind);
}

/** Candidates, pairwise win rates, ranking and rule, of live decisions and of those that the playground asked for. */
function explained(decision) {
  const facts = [["Chosen", decision.model ?? "none: no model can serve it"], ["Route", `${decision.route}, by ${decision.router}`], ["Rule", ruleText(decision.rule)]];
  if (Number.isFinite(decision.win_rate)) facts.push(["Win rate of the dearest", winBar(decision)]);
  if (decision.fail_open) facts.push(["Router not heard", decision.fail_open]);
  facts.push(["Ranking", decision.ranking.join(" › ") || "–"], ["Decided in", micros(decision.decision_us)]);
  const parts = [factList(facts)];
  const scores = [...decision.scores].sort((a, b) => b.skill - a.skill);
  if (scores.length > 0) {
    const cost = (score) => (Number.isFinite(score.cost_usd) ? usd(score.cost_usd) : "–");
    parts.push(table("Candidates", ["Model", "Skill", "Expected cost"], scores.map((score) => [score.model, score.skill.toFixed(3), cost(score)])));
  } else parts.push(el("p", { className: "muted" }, "No router has scored models for it."));
  if (scores.length > 1) {
    const line = (a) => [a.model, ...scores.map((b) => (a === b ? "" : beats(a.skill, b.skill).toFixed(2)))];
    parts.push(table("Win rates, row against column", ["", ...scores.map((score) => score.model)], scores.map(line)));
  }
  const excluded = Object.entries(decision.excluded ?? {});
  if (excluded.length > 0) parts.push(table("Cannot serve it", ["Model", "Why"], excluded.map(([model, why]) => [model, String(why)]), false));
  const battles = decision.nearest_battles ?? [];
  if (battles.length > 0) {
    const line = (battle) => [battle.id, battle.models.join(" : "), number(battle.share, 2), number(battle.similarity, 3)];
    parts.push(table("Nearest known battles", ["Battle", "Models", "Share of the first", "Similarity"], battles.map(line)));
  }
  return parts;
}

/** A table with a heading; the first cell of a row names it, the others are numbers. */
function table(title, head, lines, areNumbers = true) {
  const kind = (index) => (areNumbers && index > 0 ? "number" : "");
  const first = (text, index) => (text === "" ? el("td", {}) : el("th", { scope: "col", className: kind(index) }, text));
  const made = el("table", {}, el("thead", {}, el("tr", {}, ...head.map(first))),
    el("tbody", {}, ...lines.map((line) => el("tr", {}, ...line.map((text, index) => (index === 0 ? el("th", { scope: "row" }, text) : el("td", { className: kind(index) }, text)))))));
  return el("div", { className: "block" }, el("h4", {}, title), el("div", { className: "scroll", role: "group", "aria-label": title, tabIndex: 0 }, made));
}

// ---- Charts ----

/** Horizontal bars, and the same as a table. `lines` are names with numbers, the greatest first. */
function chart(where, title, unit, lines, format) {
  const width = Math.max(where.clientWidth, 200);
  const signature = JSON.stringify([lines, width]);
  if (where.dataset.drawn === signature) return;
  where.dataset.drawn = signature;
  if (lines.length === 0) {
    where.replaceChildren(el("p", { className: "note" }, "Nothing yet."));
    return;
  }
  const many = lines.slice(0, 12);
  const rest = lines.slice(12);
  if (rest.length > 0) many.push([`${number(rest.length)} more`, rest.reduce((sum, [, value]) => sum + value, 0)]);
  const total = lines.reduce((sum, [, value]) => sum + value, 0);
  const most = Math.max(...many.map(([, value]) => value), Number.MIN_VALUE);
  const step = 34;
  const label = `${title}: ${many.map(([name, value]) => `${name} ${format(value, total)}`).join(", ")}`;
  const picture = svg("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${many.length * step}`, height: many.length * step });
  many.forEach(([name, value], index) => {
    const top = index * step;
    const amount = format(value, total);
    const letters = Math.max(4, Math.floor((width - amount.length * 8 - 12) / 7.6));
    picture.append(svg("text", { x: 0, y: top + 13 }, name.length > letters ? `${name.slice(0, letters - 1)}…` : name));
    picture.append(svg("text", { x: width, y: top + 13, class: "amount" }, amount));
    picture.append(svg("rect", { class: "track", x: 0, y: top + 19, width, height: 8, rx: 2 }));
    picture.append(svg("rect", { class: "value", x: 0, y: top + 19, width: Math.max(1, (value / most) * width), height: 8, rx: 2 }));
  });
  const made = table(title, ["Name", unit], lines.map(([name, value]) => [name, format(value, total)]));
  const before = where.querySelector("svg");
  if (before === null) {
    where.replaceChildren(picture, el("details", {}, el("summary", {}, "As a table"), made));
    return;
  }
  // What can have the focus stays.
  before.replaceWith(picture);
  where.querySelector("table").replaceWith(made.querySelector("table"));
}

function sums(samples, label) {
  const found = new Map();
  for (const { labels, value } of samples) found.set(labels[label] ?? "", (found.get(labels[label] ?? "") ?? 0) + value);
  return [...found].filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function drawShares() {
  say(at("share-sub"), `Of the ${number(decisions.length)} recent decisions`);
  const counts = sums(decisions.map((one) => ({ labels: { model: one.model ?? "none" }, value: 1 })), "model");
  chart(at("chart-share"), "Decisions by model", "Decisions", counts, (value, total) => `${number(value)} (${percent(value / total)})`);
}

function drawSpend() {
  const cost = family("pointsman_cost_usd_total");
  chart(at("chart-model"), "Spend by model", "USD", sums(cost, "model"), usd);
  chart(at("chart-tenant"), "Spend by tenant", "USD", sums(cost, "tenant"), usd);
}

// ---- Metrics ----

/** Families of interest, by name: labels and values. */
let metrics = new Map();
/** Of the last minutes: when, requests by outcome, calls by model and result. */
let history = [];

const family = (name) => metrics.get(name) ?? [];
const total = (samples, fits = () => true) => samples.reduce((sum, { labels, value }) => (fits(labels) ? sum + value : sum), 0);

/** Prometheus' text format, without histograms. */
function parseMetrics(text) {
  const found = new Map();
  const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
  const label = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
  const plain = (value) => value.replace(/\\(.)/gs, (_, letter) => (letter === "n" ? "\n" : letter));
  for (const one of text.split("\n")) {
    if (one === "" || one.startsWith("#")) continue;
    const match = line.exec(one);
    if (!match || match[1].endsWith("_bucket")) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(label)) labels[name] = plain(value);
    const value = Number(match[3] === "+Inf" ? Infinity : match[3]);
    if (!found.has(match[1])) found.set(match[1], []);
    found.get(match[1]).push({ labels, value });
  }
  return found;
}

const FAILED = (result) => !["ok", "refused", "left_alone", "cancelled"].includes(result);
const CALLED = (result) => result !== "left_alone";
const SERVER_FAULTS = ["gateway_error", "upstream_error"];

function snapshot() {
  const calls = new Map();
  for (const { labels, value } of family("pointsman_attempts_total")) {
    const model = calls.get(labels.model) ?? { all: 0, failed: 0 };
    if (CALLED(labels.result)) model.all += value;
    if (FAILED(labels.result)) model.failed += value;
    calls.set(labels.model, model);
  }
  const requests = family("pointsman_requests_total");
  return { time: performance.now(), requests: total(requests), faults: total(requests, (labels) => SERVER_FAULTS.includes(labels.outcome)), calls };
}

async function poll() {
  try {
    if (document.hidden && history.length > 0) return;
    const answer = await ask("metrics");
    if (!answer.ok) throw new Error(await fault(answer));
    metrics = parseMetrics(await answer.text());
    const now = snapshot();
    if (history.length > 0 && now.requests < history.at(-1).requests) {
      history = [];
      startAnew();
    }
    history.push(now);
    history = history.filter((one) => now.time - one.time <= HISTORY_MS);
    say(at("metrics-error"), "");
    drawMetrics();
  } catch (error) {
    if (error instanceof Unauthorized) turnedAway();
    else say(at("metrics-error"), `The metrics cannot be read (${error.message}); what is shown is old.`);
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

/** The oldest of what is kept that is no older than so much. */
const since = (ms) => history.find((one) => history.at(-1).time - one.time <= ms);

function drawMetrics() {
  const version = family("pointsman_build_info")[0]?.labels.version;
  say(at("version"), version ? `${version}` : "");
  const now = history.at(-1);
  const before = since(RATE_MS);
  const seconds = (now.time - before.time) / 1000;
  say(at("tile-rate"), seconds > 0 ? `${number((now.requests - before.requests) / seconds, 1)} /s` : "–");
  say(at("tile-rate-more"), `${number(now.requests)} since the start`);
  const long = history[0];
  const recent = now.requests - long.requests;
  say(at("tile-errors"), recent > 0 ? percent((now.faults - long.faults) / recent) : now.requests > 0 ? percent(now.faults / now.requests) : "–");
  at("tile-errors").className = recent > 0 && now.faults > long.faults ? "bad" : "";
  say(at("tile-errors-more"), recent > 0 ? `of ${number(recent)} in the last minutes; ${now.requests ? percent(now.faults / now.requests) : "–"} since the start` : "since the start; none while this page was open");
  say(at("tile-flight"), number(total(family("pointsman_requests_in_flight"))));
  say(at("tile-flight-more"), `${number(total(family("pointsman_requests_queued")))} waiting`);
  say(at("tile-spend"), usd(total(family("pointsman_cost_usd_total"))));
  say(at("tile-spend-more"), "since the start");
  const best = total(family("pointsman_routed_best_cost_usd_total"));
  const routed = total(family("pointsman_routed_cost_usd_total"));
  say(at("tile-saved"), best > 0 ? usd(best - routed) : "–");
  say(at("tile-saved-more"), best > 0 ? `${percent((best - routed) / best)} of ${usd(best)}` : "no routed request with known prices yet");
  drawSpend();
  drawBudgets();
  drawUpstreams();
}

function drawBudgets() {
  const key = ({ tenant, project, key: name, per }) => JSON.stringify([tenant, project, name, per]);
  const found = new Map();
  for (const part of ["limit", "spent", "held"]) {
    for (const { labels, value } of family(`pointsman_budget_${part}_usd`)) {
      const one = found.get(key(labels)) ?? { labels, limit: 0, spent: 0, held: 0 };
      one[part] = value;
      found.set(key(labels), one);
    }
  }
  const used = ({ limit, spent, held }) => (limit > 0 ? (spent + held) / limit : 1);
  const budgets = [...found.values()].sort((a, b) => used(b) - used(a));
  const line = ({ labels, limit, spent, held }) => {
    const of = [labels.tenant, labels.project && labels.project !== "none" ? `project ${labels.project}` : "", labels.key && labels.key !== "none" ? `key ${labels.key}` : ""].filter(Boolean).join(", ");
    const share = limit > 0 ? spent / limit : 1;
    const bar = el("span", { className: "bar wide", "aria-hidden": "true" }, piece(share >= 1 ? "over" : "", 0, share), piece("held", share, limit > 0 ? held / limit : 0));
    const period = { day: "a day", month: "a month", total: "in total" }[labels.per] ?? labels.per;
    const amounts = `${usd(spent)} spent, ${usd(held)} held of ${usd(limit)} ${period} (${percent(used({ limit, spent, held }))})`;
    return el("li", {}, el("div", { className: "who" }, el("strong", {}, of), el("span", { className: share >= 1 ? "bad" : "" }, amounts)), bar);
  };
  const list = at("budget-list");
  const signature = JSON.stringify(budgets);
  if (list.dataset.drawn !== signature) {
    list.dataset.drawn = signature;
    list.replaceChildren(...budgets.slice(0, LIST_MAX).map(line));
  }
  const with_ = new Set(budgets.map((one) => one.labels.tenant));
  const without = pools.map((pool) => pool.name).filter((name) => !with_.has(name));
  const refused = sums(family("pointsman_limited_total"), "tenant").map(([name, count]) => `${name} ${number(count)}`);
  const several = (all) => `${all.slice(0, 20).join(", ")}${all.length > 20 ? ` and ${number(all.length - 20)} more` : ""}`;
  const notes = [];
  if (budgets.length === 0) notes.push("No budgets.");
  if (budgets.length > LIST_MAX) notes.push(`${number(budgets.length - LIST_MAX)} budgets with more left are not shown.`);
  if (without.length > 0 && budgets.length > 0) notes.push(`Without a budget: ${several(without)}.`);
  if (refused.length > 0) notes.push(`Refused by limits: ${several(refused)}.`);
  say(at("budget-none"), notes.join(" "));
}

function drawUpstreams() {
  const breakers = new Map(family("pointsman_breaker_open").map(({ labels, value }) => [labels.model, value]));
  const results = new Map();
  for (const { labels, value } of family("pointsman_attempts_total")) {
    if (!results.has(labels.model)) results.set(labels.model, []);
    if (value > 0) results.get(labels.model).push([labels.result, value]);
  }
  const retries = new Map(sums(family("pointsman_retries_total"), "model"));
  const fallbacks = new Map(sums(family("pointsman_fallbacks_total"), "model"));
  const models = [...new Set([...breakers.keys(), ...results.keys(), ...pools.flatMap((pool) => pool.models)])].filter(Boolean).sort();
  const now = history.at(-1);
  const lines = models.map((model) => {
    const all = now.calls.get(model) ?? { all: 0, failed: 0 };
    const then = history[0].calls.get(model) ?? { all: 0, failed: 0 };
    const recent = all.all - then.all;
    const breaker = breakers.get(model) ?? 0;
    return {
      model,
      breaker: breaker >= 1 ? ["open", "bad"] : breaker > 0 ? ["probing", "warn"] : ["closed", "good"],
      recent: recent > 0 ? (all.failed - then.failed) / recent : null,
      failed: all.all > 0 ? all.failed / all.all : null,
      results: (results.get(model) ?? []).sort((a, b) => b[1] - a[1]).map(([result, count]) => `${result} ${number(count)}`).join(", ") || "none",
      retries: retries.get(model) ?? 0,
      fallbacks: fallbacks.get(model) ?? 0,
    };
  });
  const signature = JSON.stringify(lines);
  const body = at("upstream-rows");
  at("upstream-none").hidden = lines.length > 0;
  if (body.dataset.drawn === signature) return;
  body.dataset.drawn = signature;
  const share = (value) => el("td", { className: value > 0 ? "number bad" : "number" }, value === null ? "–" : percent(value));
  body.replaceChildren(...lines.map((one) => el("tr", {}, el("th", { scope: "row" }, one.model), el("td", { className: one.breaker[1] }, one.breaker[0]),
    share(one.recent), share(one.failed), el("td", {}, one.results), el("td", { className: "number" }, number(one.retries)), el("td", { className: "number" }, number(one.fallbacks)))));
}

// ---- What if ----

/**
 * What a threshold chooses: the dearest candidate that beats every strictly cheaper one with at least this probability; of equally dear
 * ones only the most skilled competes; failing that, the cheapest.
 */
function choose(scores, threshold) {
  const sorted = [...scores].sort((a, b) => a.cost_usd - b.cost_usd || b.skill - a.skill || (a.model < b.model ? -1 : 1));
  let choice = sorted[0];
  let strongest = -Infinity;
  let before = null;
  for (const one of sorted) {
    if (before !== null && one.cost_usd <= before) continue;
    if (before === null || beats(one.skill, strongest) >= threshold) choice = one;
    strongest = Math.max(strongest, one.skill);
    before = one.cost_usd;
  }
  return choice;
}

let thresholdTouched = false;
/** As it is, not as it is shown: solved thresholds have more digits than fields. */
let tried = 0.5;

function drawWhatIf() {
  const routed = decisions.filter((one) => one.scores.length > 0 && one.model);
  const routes = [...new Set(routed.map((one) => one.route))].sort();
  options(at("whatif-route"), withAll("all", routes));
  const route = at("whatif-route").value;
  const here = routed.filter((one) => !route || one.route === route);
  const usable = here.filter((one) => one.scores.every((score) => Number.isFinite(score.cost_usd)) && one.scores.some((score) => score.model === one.model));
  if (!thresholdTouched) {
    const inForce = usable.findLast((one) => one.rule?.kind === "threshold")?.rule.threshold;
    if (Number.isFinite(inForce)) {
      tried = inForce;
      at("whatif-range").value = at("whatif-number").value = String(Math.round(inForce * 1000) / 1000);
    }
  }
  const threshold = tried;
  const counts = new Map();
  const count = (model, which) => {
    const one = counts.get(model) ?? { was: 0, is: 0 };
    one[which] += 1;
    counts.set(model, one);
  };
  let [costWas, costIs, changed] = [0, 0, 0];
  for (const decision of usable) {
    const was = decision.scores.find((score) => score.model === decision.model);
    const is = choose(decision.scores, threshold);
    count(was.model, "was");
    count(is.model, "is");
    costWas += was.cost_usd;
    costIs += is.cost_usd;
    if (was.model !== is.model) changed += 1;
    for (const { model } of decision.scores) if (!counts.has(model)) counts.set(model, { was: 0, is: 0 });
  }
  const all = usable.length;
  say(at("whatif-sum"), all ? `${number(changed)} of ${number(all)} decisions would change at ${threshold.toFixed(3)}.` : "No recent decision of a router with known prices.");
  const share = (value) => `${number(value)} (${percent(value / all)})`;
  const line = ([model, { was, is }]) => el("tr", {}, el("th", { scope: "row" }, model), el("td", { className: "number" }, share(was)), el("td", { className: "number" }, share(is)),
    el("td", {}, el("span", { className: "bar pair", "aria-hidden": "true" }, piece("half", 0, was / all), piece("half second", 0, is / all))));
  at("whatif-rows").replaceChildren(...[...counts].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map(line));
  const per = (sum) => (all ? usd((sum / all) * 1000) : "–");
  say(at("whatif-cost-was"), per(costWas));
  say(at("whatif-cost-is"), per(costIs));
  const change = costWas > 0 ? costIs / costWas - 1 : 0;
  say(at("whatif-cost-change"), !all || Math.abs(change) < 0.0005 ? "" : change > 0 ? `${percent(change)} more` : `${percent(-change)} less`);
  const left = decisions.filter((one) => !route || one.route === route).length - all;
  say(at("whatif-note"), left > 0 ? `${number(left)} recent decisions are left out: no router has scored them, or prices are not known.` : "");
}

/** Told to those who listen when the threshold was moved, not whenever a decision comes. */
const tellWhatIf = soon(() => say(at("whatif-said"), at("whatif-sum").textContent), 700);

function setThreshold(text, other) {
  const value = Number(text);
  if (text === "" || !(value >= 0 && value <= 1)) return;
  thresholdTouched = true;
  tried = value;
  other.value = String(value);
  drawWhatIf();
  tellWhatIf();
}
at("whatif-range").addEventListener("input", () => setThreshold(at("whatif-range").value, at("whatif-number")));
at("whatif-number").addEventListener("input", () => setThreshold(at("whatif-number").value, at("whatif-range")));
at("whatif-route").addEventListener("change", () => {
  thresholdTouched = false;
  drawWhatIf();
});

// ---- The playground ----

let pools = [];
let playing = null;

function takePools(answer) {
  pools = answer.tenants ?? [];
  options(at("play-tenant"), pools.map((pool) => [pool.name, pool.name]));
  offerModels();
}

async function readPools() {
  try {
    const answer = await ask("admin/pools");
    if (!answer.ok) throw new Error(await fault(answer));
    takePools(await answer.json());
  } catch (error) {
    if (error instanceof Unauthorized) turnedAway();
    else say(at("play-state"), `The tenants cannot be read: ${error.message}`);
  }
}

/** Asks for the tenants first: where a key is needed, one refusal is enough. */
async function start() {
  await readPools();
  if (doorIsOpen) follow();
}

function offerModels() {
  const pool = pools.find((one) => one.name === at("play-tenant").value);
  if (!pool) return;
  const names = (list) => list.map((name) => [name, name]);
  const fallback = pool.default_route ? [["auto", pool.routes.includes("auto") ? "auto" : `auto (${pool.default_route})`]] : [];
  const routes = [...fallback, ...names(pool.routes.filter((name) => name !== "auto" || fallback.length === 0))];
  options(at("play-model"), [{ group: "Routes", options: routes }, { group: "Models", options: names(pool.models) }]);
  options(at("play-other"), [["", "nothing"], { group: "Models", options: names(pool.models) }, { group: "Routes", options: routes }]);
}
at("play-tenant").addEventListener("change", offerModels);
at("play-tenant").addEventListener("focus", () => {
  if (pools.length === 0) readPools();
});

at("play-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  playing?.abort();
  const stop = new AbortController();
  playing = stop;
  const tenant = at("play-tenant").value;
  const models = [at("play-model").value, at("play-other").value].filter(Boolean);
  const body = { messages: [{ role: "user", content: at("play-prompt").value }] };
  const tokens = Number(at("play-tokens").value);
  if (tokens > 0) body.max_tokens = tokens;
  const base = `admin/as/${encodeURIComponent(tenant)}/v1`;
  at("play-send").disabled = true;
  at("play-stop").disabled = false;
  at("play-decision").hidden = true;
  at("play-gate").hidden = true;
  say(at("play-state"), "Asking…");
  const panels = models.map(answerPanel);
  at("play-answers").replaceChildren(...panels.map((panel) => panel.element));
  at("play-answers").classList.toggle("both", panels.length > 1);
  try {
    const endings = await Promise.all([decide(base, { ...body, model: models[0] }, stop.signal), ...panels.map((panel, index) => converse(base, { ...body, model: models[index] }, panel, stop.signal))]);
    const failed = endings.slice(1).filter((word) => word !== "complete").length;
    if (playing === stop) say(at("play-state"), stop.signal.aborted ? "Stopped." : failed ? `${failed === panels.length ? "No answer" : "One answer"} is complete: see below.`.replace("One answer is", "One answer is not") : panels.length > 1 ? "Both answers are complete." : "The answer is complete.");
  } catch (error) {
    if (error instanceof Unauthorized) turnedAway();
    else if (playing === stop) say(at("play-state"), String(error.message));
  }
  if (playing !== stop) return;
  playing = null;
  at("play-send").disabled = false;
  const hadFocus = document.activeElement === at("play-stop");
  at("play-stop").disabled = true;
  if (hadFocus) at("play-send").focus();
});
at("play-stop").addEventListener("click", () => playing?.abort());
at("play-prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("play-form").requestSubmit();
});

const post = (path, body, signal) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

/** Shows what `/v1/route` says of a request. */
async function decide(base, body, signal) {
  try {
    const answer = await post(`${base}/route`, body, signal);
    let parts;
    if (answer.ok) {
      const said = await answer.json();
      const costs = said.expected_cost_usd ?? {};
      const scores = Object.entries(said.skills ?? {}).map(([model, skill]) => ({ model, skill, cost_usd: costs[model] }));
      parts = explained({ ...said, scores, ranking: said.ranking ?? [] });
    } else {
      const why = await fault(answer);
      if (answer.status === 403) {
        at("play-gate").hidden = false;
        say(at("play-gate"), "The playground needs admin_keys in the configuration: without them anybody who reaches this listener could spend a tenant's money.");
      }
      parts = [el("p", { className: "bad" }, why)];
    }
    at("play-decision-body").replaceChildren(...parts);
    at("play-decision").hidden = false;
  } catch (error) {
    if (error instanceof Unauthorized) throw error;
    if (signal.aborted) return;
    at("play-decision-body").replaceChildren(el("p", { className: "bad" }, String(error.message)));
    at("play-decision").hidden = false;
  }
}

function answerPanel(model) {
  const who = el("h3", {}, model);
  const facts = el("p", { className: "muted" }, "waiting…");
  const said = el("div", { className: "said", role: "group", "aria-label": `Answer of ${model}`, tabIndex: 0 });
  const error = el("p", { className: "bad" });
  return { element: el("article", { className: "answer" }, who, facts, said, error), who, facts, said, error, model };
}

/** Streams one answer into its panel; tells how it ended. */
async function converse(base, body, panel, signal) {
  const started = performance.now();
  let first = null;
  let usage = null;
  let pieces = 0;
  let isDone = false;
  const facts = (now = performance.now()) => {
    const parts = [first === null ? "no token yet" : `first token after ${millis(first - started)}`];
    if (usage) parts.push(`${number(usage.completion_tokens ?? 0)} tokens of answer, ${number(usage.prompt_tokens ?? 0)} of prompt`);
    else if (pieces > 0) parts.push(`${number(pieces)} pieces so far`);
    parts.push(millis(now - started));
    say(panel.facts, parts.join(" · "));
  };
  const fail = (why) => {
    say(panel.error, why);
    facts();
    return "failed";
  };
  try {
    const answer = await post(`${base}/chat/completions`, { ...body, stream: true, stream_options: { include_usage: true } }, signal);
    const by = answer.headers.get("x-pointsman-model");
    if (by && by !== body.model) say(panel.who, `${body.model} → ${by}`);
    if (!answer.ok || !answer.body) return fail(await fault(answer));
    let fault_ = null;
    await readEvents(answer.body, (_, data) => {
      if (data === "[DONE]") return (isDone = true);
      let chunk;
      try {
        chunk = JSON.parse(data);
      } catch {
        return false;
      }
      if (chunk.error) {
        fault_ = `${chunk.error.code ?? chunk.error.type ?? "error"}: ${chunk.error.message ?? ""}`;
        return true;
      }
      const text = (chunk.choices ?? []).map((choice) => choice.delta?.content ?? choice.delta?.refusal ?? "").join("");
      if (text) {
        first ??= performance.now();
        pieces += 1;
        panel.said.append(text);
      }
      usage = chunk.usage ?? usage;
      facts();
      return false;
    });
    if (fault_) return fail(fault_);
    if (!isDone) return fail("The answer ended early.");
    facts();
    return "complete";
  } catch (error) {
    if (error instanceof Unauthorized) throw error;
    return fail(signal.aborted ? "Stopped." : `The answer broke off: ${error.message}`);
  }
}

// ---- Start ----

new ResizeObserver(soon(() => {
  drawShares();
  if (history.length > 0) drawSpend();
})).observe(at("shares"));
drawDecisions();
start();
poll();
