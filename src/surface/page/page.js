// The chat page: everything shown is a fold of the feed and of run views. All text enters as text, never as HTML.
"use strict";
const el = (id) => document.getElementById(id);
const state = { token: sessionStorage.getItem("opsward.token"), workspace: null, run: null, after: 0, socket: null, piece: "" };

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

function clock(ms) { return new Date(ms).toLocaleTimeString(); }

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
  const [spaces, platform] = await Promise.all([call("GET", "/workspaces"), call("GET", "/platform").catch(() => ({}))]);
  el("mode").textContent = platform.observe_only ? "observe-only: nothing is changed" : "";
  const select = el("workspace");
  select.replaceChildren(...spaces.map((space) => make("option", "", space.name)));
  state.workspace = spaces.length ? spaces[0].name : null;
  select.onchange = () => { state.workspace = select.value; state.run = null; lists(); show(); };
  await lists();
  const newest = state.newest;
  if (newest) state.run = newest;
  await show();
  connect();
}

async function lists() {
  const [incidents, conversations] = await Promise.all([call("GET", "/incidents"), call("GET", "/conversations")]);
  const here = (line) => line.workspace === state.workspace;
  const item = (kind) => (line) => {
    const li = make("li"); const button = make("button", "", line.title); button.type = "button";
    button.append(make("small", "", `${clock(line.opened_at_ms || line.last_at_ms)} ${line.status ? line.status.replaceAll("_", " ") : ""}`));
    if (state.run && state.run.id === line.id) button.setAttribute("aria-current", "true");
    button.onclick = () => { state.run = { kind, id: line.id }; lists(); show(); };
    li.append(button); return li;
  };
  el("incidents").replaceChildren(...incidents.filter(here).slice(0, 30).map(item("incident")));
  el("conversations").replaceChildren(...conversations.filter(here).slice(0, 30).map(item("conversation")));
  const first = incidents.filter(here)[0];
  state.newest = first ? { kind: "incident", id: first.id } : null;
}

function planCard(plan) {
  const waiting = plan.approval && plan.approval.state.status === "open" && !plan.ended;
  const denied = plan.status === "denied" || plan.status === "withheld";
  const card = make("div", `card ${denied ? "denied" : plan.status === "succeeded" ? "done" : ""}`);
  card.append(make("pre", "", plan.card));
  if (plan.ended) card.append(make("div", "", `${plan.status}: ${plan.ended}`));
  if (plan.approval && plan.approval.state.given_by) card.append(make("div", "", plan.approval.state.given_by.map((who) => `${who} said yes`).join(", ")));
  if (waiting) {
    for (const [word, verb, look] of [["Approve", "approve", "yes"], ["Refuse", "refuse", ""]]) {
      const button = make("button", look, word); button.type = "button";
      button.onclick = async () => {
        try { await call("POST", `/approvals/${plan.approval.id}/${verb}`, verb === "refuse" ? { note: "" } : undefined); }
        catch (error) { card.append(make("div", "error", error.message)); }
      };
      card.append(button, document.createTextNode(" "));
    }
  }
  return card;
}

function evidence(item) {
  const details = make("details");
  details.append(make("summary", "", `${item.id}  ${item.title}`));
  details.append(make("pre", "", `query: ${JSON.stringify(item.query)}\n\n${item.excerpt.text}`));
  return details;
}

async function show() {
  const box = el("messages");
  el("stop").hidden = true;
  if (!state.run) { box.replaceChildren(make("p", "step", state.workspace ? `Ask about ${state.workspace}.` : "There is no workspace yet: opsward create-workspace makes one.")); return; }
  const wanted = state.run;
  const [run, trail] = await Promise.all([call("GET", `/runs/${wanted.kind}/${wanted.id}`), call("GET", `/runs/${wanted.kind}/${wanted.id}/trail`)]);
  if (state.run !== wanted) return;
  const nodes = [];
  const plans = Object.fromEntries(run.plans.map((plan) => [plan.id, plan]));
  for (const alert of run.alerts) nodes.push(make("div", "step bad", `alert ${alert.name}${alert.workload ? ` on ${alert.workload}` : ""} since ${clock(alert.started_at_ms)}`));
  const work = make("details"); work.open = run.status === "running";
  work.append(make("summary", "", `what was done (${trail.length} records)`));
  for (const line of trail) work.append(make("div", "step", `${clock(line.at_ms)} ${line.by}: ${line.what}`));
  for (const text of run.messages || []) nodes.push(make("div", text.by ? "said" : "answer", text.text));
  nodes.push(work);
  if (run.evidence.length) {
    const all = make("details"); all.append(make("summary", "", `evidence (${run.evidence.length})`));
    run.evidence.forEach((item) => all.append(evidence(item)));
    nodes.push(all);
  }
  Object.values(plans).forEach((plan) => nodes.push(planCard(plan)));
  for (const line of run.scores || []) nodes.push(make("div", "step", line));
  if (run.answer && !(run.messages || []).some((text) => text.text === run.answer)) nodes.push(make("div", "answer", run.answer));
  if (run.fault) nodes.push(make("div", "error", run.fault.message));
  nodes.push(make("div", "step", run.status.replaceAll("_", " ")));
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  box.replaceChildren(...nodes);
  if (atEnd) box.scrollTop = box.scrollHeight;
  el("stop").hidden = run.status !== "running";
}

let pending = null;
function refresh() { if (!pending) pending = setTimeout(() => { pending = null; lists().then(show).catch(() => {}); }, 150); }

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api/v1/feed?after=${state.after}`, ["opsward.v1", `bearer.${state.token}`]);
  state.socket = socket;
  socket.onmessage = (frame) => {
    const event = JSON.parse(frame.data);
    if (event.piece !== undefined) { live(event); return; }
    state.after = event.seq; refresh();
  };
  socket.onclose = () => setTimeout(connect, 1500);
}

function live(event) {
  if (!state.run || event.stream.id !== state.run.id) return;
  let box = el("live");
  if (!box) { box = make("div", "answer"); box.id = "live"; el("messages").append(box); }
  box.textContent += event.piece;
}

el("signin-form").onsubmit = (event) => { event.preventDefault(); signIn(el("secret").value); };
el("fresh").onclick = () => { state.run = null; lists(); show(); el("text").focus(); };
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
    state.run = { kind: "conversation", id: said.conversation };
    refresh();
  } catch (error) { el("messages").append(make("div", "error", error.message)); }
};

const link = location.hash.startsWith("#link=") ? location.hash.slice(6) : null;
if (link) { history.replaceState(null, "", "/"); signIn(link); }
else if (state.token) { call("GET", "/me").then(start, () => showSignIn()); }
else showSignIn();
