// The chat page: a run is shown as its items, newest last. An event of the feed fetches what came after the last
// item shown, nothing else; what is older comes on demand. All text enters as text, never as HTML.
"use strict";
const el = (id) => document.getElementById(id);
const ITEMS = 60;
const state = { token: sessionStorage.getItem("opsward.token"), workspace: null, run: null, first: 0, last: 0, after: 0 };

async function call(method, path, body) {
  const headers = { authorization: `Bearer ${state.token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(`/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const fault = value.error || { message: `HTTP ${answer.status}` };
    throw new Error([fault.message, fault.detail, fault.hint].filter(Boolean).join(" — "));
  }
  return value;
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function clock(ms) {
  const at = new Date(ms);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

const words = (status) => (status || "").replaceAll("_", " ");

async function signIn(secret) {
  if (secret.includes("#link=")) secret = secret.split("#link=")[1];
  state.token = secret.trim();
  try {
    const answer = await fetch("/api/v1/login", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ link: state.token }) });
    if (answer.ok) state.token = (await answer.json()).token;
    const me = await call("GET", "/me");
    sessionStorage.setItem("opsward.token", state.token);
    start(me);
  } catch (error) { showSignIn(error.message); }
}

function showSignIn(message) {
  el("app").hidden = true; el("signin").hidden = false;
  if (message) { el("signin-text").textContent = message; el("signin-text").className = "error"; }
}

async function start(me) {
  el("signin").hidden = true; el("app").hidden = false;
  el("who").textContent = `${me.subject} · ${me.tenant}`;
  const [spaces, platform, page] = await Promise.all([
    call("GET", "/workspaces"), call("GET", "/platform").catch(() => ({})), call("GET", "/events?limit=1"),
  ]);
  // What happened before is shown by the lists and the items; the feed begins now.
  state.after = page.head;
  el("mode").textContent = platform.observe_only ? "observe-only: nothing is changed" : "";
  const select = el("workspace");
  select.replaceChildren(...spaces.map((space) => make("option", "", space.name)));
  state.workspace = spaces.length ? spaces[0].name : null;
  select.onchange = () => { state.workspace = select.value; choose(null); };
  connect();
  await choose(await lists());
}

// The lists. Returns the run that is worth showing first.
async function lists() {
  if (!state.workspace) return null;
  const [incidents, conversations, approvals, schedules] = await Promise.all([
    call("GET", "/incidents"), call("GET", "/conversations"), call("GET", "/approvals"),
    call("GET", `/workspaces/${state.workspace}/schedules`).catch(() => []),
  ]);
  const here = (line) => line.workspace === state.workspace;
  const item = (run, title, small) => {
    const li = make("li"); const button = make("button", "", title); button.type = "button";
    button.append(make("small", "", small));
    if (state.run && state.run.id === run.id) button.setAttribute("aria-current", "true");
    button.onclick = () => choose(run);
    li.append(button); return li;
  };
  const fill = (id, nodes, none) => el(id).replaceChildren(...(nodes.length ? nodes : none ? [make("li", "none", none)] : []));
  const open = approvals.filter(here);
  el("waiting-part").hidden = !open.length;
  fill("waiting", open.map((line) => item({ kind: line.stream.kind, id: line.stream.id }, line.headline, `asked by ${line.asker}`)));
  fill("incidents", incidents.filter(here).slice(0, 30).map((line) =>
    item({ kind: "incident", id: line.id }, line.title, `${clock(line.opened_at_ms)} ${words(line.status)}`)), "none");
  fill("conversations", conversations.filter(here).slice(0, 30).map((line) =>
    item({ kind: "conversation", id: line.id }, line.title, `${clock(line.last_at_ms)} ${line.by}`)), "none yet");
  el("schedules-part").hidden = !schedules.length;
  fill("schedules", schedules.map(schedule));
  const urgent = incidents.filter(here)[0] || null;
  return urgent && { kind: "incident", id: urgent.id };
}

function schedule(line) {
  const next = line.paused ? "paused" : line.next_ms ? `next ${clock(line.next_ms)}` : "never again";
  const li = make("li");
  const node = line.last ? make("button", "", line.name) : make("div", "", line.name);
  node.append(make("small", "", `${line.work_words}, ${line.when_words}, by ${line.owner}`));
  node.append(make("small", "", line.last ? `${next}; last ${words(line.last.status)}` : next));
  if (line.missed && (!line.last || line.missed.due_ms > line.last.due_ms)) node.append(make("small", "error", `missed: ${line.missed.reason}`));
  if (line.last) { node.type = "button"; node.onclick = () => choose({ kind: line.last.kind, id: line.last.run }); }
  li.append(node); return li;
}

// Shows another run from its end, or the beginning of a new conversation.
async function choose(run) {
  document.body.classList.remove("lists"); el("menu").setAttribute("aria-expanded", "false");
  state.run = run; state.first = 0; state.last = 0;
  el("messages").replaceChildren(); el("state").textContent = ""; el("stop").hidden = true; el("earlier").hidden = true;
  clearLive();
  soonLists();
  if (!run) {
    el("messages").append(make("p", "step", state.workspace ? `Ask about ${state.workspace}.` : "There is no workspace yet: opsward create-workspace makes one."));
    return;
  }
  const page = await items(run, `limit=${ITEMS}`);
  if (!page || state.run !== run) return;
  el("messages").replaceChildren(render(page.items, page));
  settle(page);
  state.first = page.items.length ? page.items[0].at : page.last;
  el("earlier").hidden = page.first;
  el("scroll").scrollTop = el("scroll").scrollHeight;
}

async function items(run, query) {
  try { return await call("GET", `/runs/${run.kind}/${run.id}/items?${query}`); }
  catch (error) { if (state.run === run) el("state").textContent = error.message; return null; }
}

// Fetches what came after the last item shown, one fetch at a time.
let fetching = false; let again = false;
async function tail() {
  const run = state.run;
  if (!run) return;
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    const page = await items(run, `after=${state.last}&limit=200`);
    if (!page || state.run !== run) return;
    const box = el("scroll");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 120;
    if (page.items.some((item) => item.show === "answer" || item.show === "replied")) clearLive();
    el("messages").append(render(page.items, page));
    settle(page);
    if (page.more) again = true;
    if (atEnd) box.scrollTop = box.scrollHeight;
  } finally {
    fetching = false;
    if (again) { again = false; tail(); }
  }
}

async function earlier() {
  const run = state.run; const box = el("scroll");
  const page = await items(run, `before=${state.first}&limit=${ITEMS}`);
  if (!page || state.run !== run) return;
  const from = box.scrollHeight - box.scrollTop;
  el("messages").prepend(render(page.items, page, true));
  if (page.items.length) state.first = page.items[0].at;
  el("earlier").hidden = page.first;
  box.scrollTop = box.scrollHeight - from;
}

// Where the run stands, and the cards whose plans moved.
function settle(page) {
  state.last = Math.max(state.last, page.last);
  for (const plan of page.plans) {
    const shown = document.querySelector(`[data-plan="${CSS.escape(plan.id)}"]`);
    if (shown) shown.replaceWith(planCard(plan));
  }
  const stands = page.status === "answered" ? "" : words(page.status);
  const why = page.fault && stands ? `${stands}: ${page.fault.message}` : stands;
  el("state").textContent = [...(page.scores || []), why].filter(Boolean).join("\n");
  el("stop").hidden = page.status !== "running";
}

// Items as nodes. Records in a row share one fold; a fold at the end of the thread goes on with what comes next.
function render(list, page, old) {
  const nodes = document.createDocumentFragment();
  const end = el("messages").lastElementChild;
  let work = !old && end && end.classList.contains("work") ? end : null;
  const record = (node) => {
    if (!work) {
      work = make("details", "work"); work.append(make("summary")); work.open = page.status === "running" && !old;
      nodes.append(work);
    }
    work.append(node);
    const count = work.childElementCount - 1;
    work.firstElementChild.textContent = count === 1 ? "1 record" : `${count} records`;
  };
  const plain = (node) => { if (work && page.status !== "running") work.open = false; work = null; nodes.append(node); };
  for (const item of list) {
    if (item.show === "quiet") continue;
    if (item.show === "said") plain(make("div", "said", item.text));
    else if (item.show === "answer") plain(make("div", "answer", item.text));
    else if (item.show === "evidence") record(evidence(item));
    else if (item.show === "plan") { const plan = page.plans.find((one) => one.id === item.plan); if (plan) plain(planCard(plan)); }
    else if (item.show === "note") plain(note(item));
    else record(make("div", `step ${item.tone || ""}`, `${clock(item.at_ms)} ${item.by}: ${item.what}`));
  }
  return nodes;
}

function note(item) {
  const node = make("div", `step ${item.tone}`, `${clock(item.at_ms)} ${item.what}`);
  for (const claim of item.claims || []) node.append(make("div", "claim", claim));
  return node;
}

function planCard(plan) {
  const waiting = plan.approval && plan.approval.state.status === "open" && !plan.ended;
  const denied = plan.status === "denied" || plan.status === "withheld";
  const card = make("div", `card ${denied ? "denied" : plan.status === "succeeded" ? "done" : ""}`);
  card.dataset.plan = plan.id;
  card.append(make("pre", "", plan.card));
  if (plan.ended) card.append(make("div", "", `${words(plan.status)}: ${plan.ended}`));
  if (plan.approval && plan.approval.state.given_by) card.append(make("div", "", plan.approval.state.given_by.map((who) => `${who} said yes`).join(", ")));
  if (!waiting) return card;
  for (const [word, verb, look] of [["Approve", "approve", "yes"], ["Refuse", "refuse", ""]]) {
    const button = make("button", look, word); button.type = "button";
    button.onclick = async () => {
      try { await call("POST", `/approvals/${plan.approval.id}/${verb}`, verb === "refuse" ? { note: "" } : undefined); tail(); }
      catch (error) { card.append(make("div", "error", error.message)); }
    };
    card.append(button, document.createTextNode(" "));
  }
  return card;
}

function evidence(item) {
  const details = make("details");
  details.append(make("summary", "", `${item.id}  ${item.title}`));
  details.append(make("pre", "", `query: ${JSON.stringify(item.query)}\n\n${item.text}`));
  return details;
}

let listsSoon = null;
function soonLists() { if (!listsSoon) listsSoon = setTimeout(() => { listsSoon = null; lists().catch(() => {}); }, 400); }
let tailSoon = null;
function soonTail() { if (!tailSoon) tailSoon = setTimeout(() => { tailSoon = null; tail(); }, 80); }

// Events that change what a list says.
const LISTED = new Set(["message_received", "incident_opened", "incident_resolved", "incident_escalated", "approval_requested",
  "approval_given", "approval_refused", "approval_voided", "approval_used", "plan_ended", "turn_ended", "schedule_made",
  "schedule_paused", "schedule_fired", "schedule_missed", "schedule_removed"]);

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api/v1/feed?after=${state.after}`, ["opsward.v1", `bearer.${state.token}`]);
  socket.onopen = () => { el("link-state").textContent = ""; };
  socket.onmessage = (frame) => {
    const event = JSON.parse(frame.data);
    if (event.piece !== undefined) { live(event); return; }
    state.after = event.seq;
    if (state.run && event.stream.kind === state.run.kind && event.stream.id === state.run.id) soonTail();
    if (event.body && LISTED.has(event.body.type)) soonLists();
  };
  socket.onclose = () => { el("link-state").textContent = "reconnecting…"; setTimeout(connect, 1500); };
}

function live(event) {
  if (!state.run || event.stream.id !== state.run.id) return;
  const box = el("live"); box.hidden = false;
  box.textContent += event.piece;
  el("scroll").scrollTop = el("scroll").scrollHeight;
}

function clearLive() { el("live").textContent = ""; el("live").hidden = true; }

el("signin-form").onsubmit = (event) => { event.preventDefault(); signIn(el("secret").value); };
el("menu").onclick = () => el("menu").setAttribute("aria-expanded", String(document.body.classList.toggle("lists")));
el("fresh").onclick = () => { choose(null); el("text").focus(); };
el("earlier").onclick = earlier;
el("stop").onclick = () => state.run && call("POST", `/runs/${state.run.kind}/${state.run.id}/cancel`).catch(() => {});
el("text").onkeydown = (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); el("say").requestSubmit(); } };
el("say").onsubmit = async (event) => {
  event.preventDefault();
  const text = el("text").value.trim();
  if (!text || !state.workspace) return;
  try {
    const conversation = state.run && state.run.kind === "conversation" ? state.run.id : null;
    const said = await call("POST", `/workspaces/${state.workspace}/messages`, { text, conversation });
    el("text").value = "";
    if (conversation) tail(); else choose({ kind: "conversation", id: said.conversation });
  } catch (error) { el("messages").append(make("div", "error", error.message)); }
};

const link = location.hash.startsWith("#link=") ? location.hash.slice(6) : null;
if (link) { history.replaceState(null, "", "/"); signIn(link); }
else if (state.token) { call("GET", "/me").then(start, () => showSignIn()); }
else showSignIn();
