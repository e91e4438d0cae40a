// The page of `edgepose serve`: pictures come as MJPEG into an <img>, figures and events over a WebSocket;
// what was missed while there was no connection is asked of the API.

import { $, ask, asked, capital, color, dot, make, noun, now, page, put, query, span } from "./base.js";
import { load_hours, show_chart, show_visits } from "./charts.js";
import { add_events, catch_up, forget_events, load_events } from "./events.js";
import { hide_grid, show_grid } from "./grid.js";
import { count_zones, forget_zones, load_zones, take } from "./zones.js";
import { forget_picture, hang_up, hide_picture, show_picture, use_webrtc } from "./picture.js";

const NAMES = { "": "All", camera: "Camera", example: "Example" };
let cameras = [];
const WORDS = {
  offline: ["No connection", "The server does not answer. Trying again …"],
  connecting: ["Connecting", "Opening the source …"],
  live: ["Live", ""],
  lost: ["Source lost", "Trying again …"],
  failed: ["Failed", ""],
  ended: ["Ended", "The film has ended."],
  paused: ["Paused", ""],
  idle: ["Idle", "Waiting for the source …"],
};
const STAGES = ["decode", "preprocess", "network", "postprocess", "track", "overlay", "encode"];

// the connection -----------------------------------------------------------------------------------
function connect() {
  clearTimeout(page.retry);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/ws${query({ source: page.source })}`);
  page.socket = socket;
  let refused = "";
  socket.onopen = () => { page.tries = 0; show_picture(); catch_up(); load_zones(); };
  socket.onmessage = (message) => { if (page.socket === socket) hear(JSON.parse(message.data)); };
  socket.onclose = (event) => {
    if (page.socket !== socket) return;
    if (event.code >= 4400) refused = event.reason;
    set_state(refused ? "failed" : "offline", refused);
    page.people.push({ t: now(), n: null });
    // growing, jittered: many pages must not knock in step
    const delay = Math.min(10000, 500 * 2 ** page.tries++) * (0.75 + Math.random() / 2);
    page.retry = setTimeout(connect, refused ? 10000 : delay);
  };
}

// let go of the connection; the browser complains where that ends before it has begun
function disconnect() {
  const old = page.socket;
  page.socket = null;
  if (old?.readyState === WebSocket.CONNECTING) old.onopen = () => old.close();
  else old?.close();
}

function hear(message) {
  page.heard = Date.now();
  if (message.type === "zones") take(message);
  else if (page.paused && message.type !== "source") return; // who resumes asks for all of it
  else if (message.type === "state" || message.type === "figures") show_status(message);
  else if (message.type === "event") add_events([message.event], true);
  else if (message.type === "history") page.people = message.people.map(([ago, n]) => ({ t: now() - ago * 1000, n }));
  else if (message.type === "source" && message.source !== page.source) choose(message.source);
}

function tab(name) {
  const label = document.createElement("label"), text = document.createElement("span");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "source", value: name });
  text.textContent = NAMES[name] || name;
  label.append(radio, text);
  return label;
}

function choose(source) {
  if (source === page.source) return;
  page.source = source; // "" = all cameras
  for (const radio of document.getElementsByName("source")) radio.checked = radio.value === source;
  disconnect();
  page.people = []; page.tries = 0; page.status = null; page.told = 0;
  if (page.paused) { page.paused = false; put("pause", "Pause"); $("pause").classList.remove("on"); }
  forget_picture(); // else the other input's last picture would stand under this one's name
  forget_events();
  forget_zones();
  clearTimeout(page.retry);
  show_all(!source);
  load_events();
  if (!source) return;
  set_state("connecting");
  connect();
  load_hours();
}

function show_all(on) {
  $("main").toggleAttribute("data-all", on);
  $("all").hidden = !on;
  $("banner").hidden = true;
  if (on) show_grid(cameras, choose, WORDS);
  else hide_grid();
}

function set_state(state, reason = "") {
  [page.state, page.reason] = [state, reason];
  $("stage").toggleAttribute("data-cover", state !== "live" && !page.paused);
  show_stale();
  if (page.paused) state = "paused";
  const [word, advice] = WORDS[state] || [state, ""];
  $("connection").dataset.state = state;
  const label = $("connection").lastElementChild;
  if (label.textContent !== word) label.textContent = word;
  const [title, text] = $("cover").children;
  title.textContent = word;
  text.textContent = reason ? `${reason} ${state === "failed" ? "" : advice}` : advice;
}

function show_stale() {
  // grey is what may not be so any more
  const silent = page.told && Date.now() - page.told > 5000;
  const stale = page.paused || page.state !== "live" || silent;
  $("main").toggleAttribute("data-stale", stale);
  $("asof").hidden = !(stale && page.told);
  if (page.told) put("asof", `${page.paused ? "Paused" : "No news"}: the figures are of ${new Date(page.told).toLocaleTimeString()}.`);
}
function pause(on) {
  page.paused = on;
  put("pause", on ? "Resume" : "Pause");
  $("pause").classList.toggle("on", on);
  if (on) {
    hide_picture();
    document.title = "Paused · edgepose";
    set_state(page.state, page.reason);
    return;
  }
  disconnect();
  set_state("connecting");
  connect(); // tells what was missed: states, people, events
}

// figures --------------------------------------------------------------------------------------------
function show_status(s) {
  page.status = s;
  if (s.state === "live") page.told = Date.now();
  count_zones(s.zones);
  $("banner").hidden = !s.input.startsWith("test://");
  page.clock = Date.parse(s.time) - Date.now();
  set_state(s.state, s.reason);
  const live = s.state === "live";
  for (const e of document.querySelectorAll("[data-noun]")) {
    const word = capital(noun(Number(e.dataset.noun)));
    if (e.textContent !== word) e.textContent = word;
  }
  put("nobody", s.what === "person" ? "Nobody is in view." : `No ${noun(0)} in view.`);
  put("people", live ? s.people : "–");
  put("fps", live ? s.fps.toFixed(1) : "–");
  put("inference", s.inference_ms ? s.inference_ms.toFixed(1) : "–");
  put("viewers", Math.max(1, s.viewers));
  put("input", s.input);
  put("network", s.network || "–");
  put("engine", s.engine);
  document.title = live ? `${s.people} ${noun(s.people)} · edgepose` : "edgepose";
  show_inside(s.inside);
  show_stages(s.stages_ms);
  const last = page.people[page.people.length - 1];
  if (!last || now() - last.t >= 500 || !live) page.people.push({ t: now(), n: live ? s.people : null });
}

function show_inside(inside) {
  const list = $("inside");
  $("nobody").hidden = inside.length > 0;
  while (list.children.length > inside.length) list.lastElementChild.remove();
  inside.forEach((person, i) => {
    let item = list.children[i];
    if (!item) {
      item = make("li");
      item.append(dot(0), make("span"), make("span", "", "quiet"), make("span", "", "does"));
      list.append(item);
    }
    const [mark, who, since, does] = item.children;
    mark.style.backgroundColor = color(person.track);
    item.classList.toggle("away", person.id === null);
    const hidden = person.id === null ? " hidden" : "";
    if (who.textContent !== `#${person.track}${hidden}`) who.replaceChildren(make("b", `#${person.track}`), make("span", hidden, "quiet"));
    since.textContent = span((now() - Date.parse(person.since)) / 1000);
    does.textContent = person.gestures.join(", ").replaceAll("_", " ");
  });
}

function show_stages(times) {
  const names = [...STAGES.filter((n) => n in times), ...Object.keys(times).filter((n) => !STAGES.includes(n) && n !== "output")];
  const most = Math.max(1, ...names.map((n) => times[n]));
  const body = $("stages");
  while (body.children.length > names.length) body.lastElementChild.remove();
  names.forEach((name, i) => {
    let row = body.children[i];
    if (!row) {
      row = make("tr");
      const head = make("th");
      head.scope = "row";
      const share = make("td");
      share.append(make("div", undefined, "meter"));
      row.append(head, share, make("td"));
      body.append(row);
    }
    row.children[0].textContent = name;
    row.children[1].firstChild.style.width = `${times[name] / most * 100}%`;
    row.children[2].textContent = `${times[name].toFixed(times[name] < 10 ? 2 : 1)} ms`;
  });
}

// the start ------------------------------------------------------------------------------------------
async function start() {
  let there;
  try {
    there = await ask("/api/v1/source");
  } catch {
    set_state("offline");
    setTimeout(start, 2000);
    return;
  }
  cameras = there.sources.filter((name) => name !== "example");
  for (const name of cameras.length > 1 ? ["", ...there.sources] : there.sources) $("sources").append(tab(name));
  for (const radio of document.getElementsByName("source")) {
    radio.onchange = () => choose(radio.value);
  }
  $("sources").hidden = there.sources.length < 2;
  $("rtc").hidden = !(there.webrtc && window.RTCPeerConnection);
  const first = asked.get("source");
  if (cameras.length > 1 && asked.has("all")) choose("");
  else choose(there.sources.includes(first) ? first : there.source);
}
$("picture").onerror = () => { // too many viewers, for example; while there is no connection, that comes first
  if (page.status && page.socket?.readyState === WebSocket.OPEN) setTimeout(show_picture, 3000);
};
$("rtc").onclick = () => use_webrtc(!page.rtc);
$("pause").onclick = () => pause(!page.paused);
$("span").onchange = () => { $("of").parentElement.hidden = !$("span").value || $("of").options.length < 2; load_hours(); };
$("of").onchange = load_hours;
$("full").hidden = !document.fullscreenEnabled;
$("full").onclick = () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen());
$("kind").onchange = () => { forget_events(); load_events(); };
$("older").onclick = () => load_events(page.cursor);
// a page that nobody sees costs no pictures; its figures and events go on
// who leaves lets go of the camera, also where the browser keeps the page to come back to
window.onpagehide = () => {
  disconnect();
  clearTimeout(page.retry);
  hang_up();
  $("picture").removeAttribute("src");
};
window.onpageshow = (event) => { if (event.persisted && page.source) { page.tries = 0; connect(); } };
document.onvisibilitychange = () => { if (page.source) (document.hidden ? hide_picture : show_picture)(); };
setInterval(() => {
  if (page.source && page.state === "live") show_stale();
  // a connection that says nothing, not even pings, is none
  if (page.socket?.readyState === WebSocket.OPEN && page.heard && Date.now() - page.heard > 40000) {
    disconnect();
    page.heard = 0;
    set_state("offline");
    connect();
  }
  if (page.source && !document.hidden && !page.paused) { show_chart(); show_visits(); }
}, 1000);
setInterval(() => { if (page.source && !document.hidden && !page.paused && $("span").value) load_hours(); }, 60000);
start();
