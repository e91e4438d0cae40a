"use strict";
// The page of `edgepose serve`: pictures come as MJPEG into an <img>, figures and events over a WebSocket;
// what was missed while there was no connection is asked of the API.

const NAMES = { camera: "Camera", example: "Example" };
const SPAN = 300; // seconds in the chart and in the visits
const MAX_ROWS = 500;
const WORDS = {
  offline: ["No connection", "The server does not answer. Trying again …"],
  connecting: ["Connecting", "Opening the source …"],
  live: ["Live", ""],
  lost: ["Source lost", "Trying again …"],
  failed: ["Failed", ""],
  ended: ["Ended", "The film has ended."],
  idle: ["Idle", "Waiting for the source …"],
};
const STAGES = ["decode", "preprocess", "network", "postprocess", "track", "overlay", "encode"];

const $ = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const passed = new URLSearchParams();
for (const name of ["device-name", "precision"]) {
  if (asked.has(name)) passed.set(name, asked.get(name));
}

const page = {
  source: "", socket: null, tries: 0, retry: 0, paused: false,
  rtc: false, peer: null, // video by WebRTC instead of MJPEG
  status: null, clock: 0, // server's time minus ours, ms
  people: [], // {t: ms of the server, n: people or null where it is not known}
  visits: new Map(), // by session and track: {track, from, to (null while inside)}
  newest: 0, cursor: "", known: new Set(), asking: 0, loaded: false,
};

const now = () => Date.now() + page.clock;
const query = (more = {}) => {
  const all = new URLSearchParams(passed);
  for (const [name, value] of Object.entries(more)) all.set(name, value);
  return String(all) ? `?${all}` : "";
};
async function ask(path, more) {
  const answer = await fetch(path + query(more), { headers: { accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

// the same colour as in the picture: steps of the golden ratio around the circle of hues
function color(track) {
  if (track === null) return "#fff";
  const h = (track * 0.618034 % 1) * 6, s = 0.65;
  const part = (n) => { const k = (n + h) % 6; return Math.round(255 * (1 - s * Math.max(0, Math.min(k, 4 - k, 1)))); };
  return `rgb(${part(5)} ${part(3)} ${part(1)})`;
}
function make(tag, text, classes) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (classes) e.className = classes;
  return e;
}
function draw(tag, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}
function dot(track) {
  const e = make("span", undefined, "dot");
  e.style.backgroundColor = color(track);
  return e;
}
function span(seconds) {
  seconds = Math.max(0, seconds);
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const put = (id, text) => { const e = $(id); if (e.textContent !== String(text)) e.textContent = text; };

// the connection -----------------------------------------------------------------------------------
function connect() {
  clearTimeout(page.retry);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/ws${query({ source: page.source })}`);
  page.socket = socket;
  let refused = "";
  socket.onopen = () => { page.tries = 0; show_picture(); catch_up(); };
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

function hear(message) {
  if (message.type === "state" || message.type === "figures") show_status(message);
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
  page.source = source;
  for (const radio of document.getElementsByName("source")) radio.checked = radio.value === source;
  if (page.socket) { const old = page.socket; page.socket = null; old.close(); }
  page.people = []; page.tries = 0; page.status = null;
  forget_picture(); // else the other input's last picture would stand under this one's name
  forget_events();
  set_state("connecting");
  connect();
  load_events();
}

// the picture ---------------------------------------------------------------------------------------
function show_picture() {
  const picture = $("picture");
  if (page.paused || document.hidden) return;
  if (page.rtc) { show_video(); return; }
  const example = page.source === "example";
  picture.src = (example ? "/example_video" : "/camera_feed") + query({ source: page.source, n: Date.now() });
  picture.alt = `Live view of the ${page.source} with skeletons`;
}
function hide_picture() {
  // a frozen copy stays where the stream was
  hang_up();
  const picture = $("picture");
  const copy = document.createElement("canvas");
  if (!picture.naturalWidth) return picture.removeAttribute("src");
  [copy.width, copy.height] = [picture.naturalWidth, picture.naturalHeight];
  copy.getContext("2d").drawImage(picture, 0, 0);
  copy.toBlob((blob) => { if (page.paused || document.hidden) picture.src = URL.createObjectURL(blob); }, "image/jpeg", 0.9);
}
function forget_picture() {
  hang_up();
  $("video").srcObject = null;
  $("picture").removeAttribute("src");
}
async function show_video() {
  hang_up();
  const peer = page.peer = new RTCPeerConnection();
  peer.ontrack = (event) => { if (page.peer === peer) $("video").srcObject = new MediaStream([event.track]); };
  peer.onconnectionstatechange = () => {
    if (page.peer === peer && peer.connectionState === "failed") use_webrtc(false);
  };
  try {
    peer.addTransceiver("video", { direction: "recvonly" });
    await peer.setLocalDescription(await peer.createOffer());
    await new Promise((done) => { // all candidates go with the offer
      if (peer.iceGatheringState === "complete") done();
      else peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
      setTimeout(done, 2000);
    });
    const answer = await fetch("/api/v1/webrtc" + query({ source: page.source }), {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(peer.localDescription),
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    if (page.peer === peer) await peer.setRemoteDescription(await answer.json());
  } catch {
    if (page.peer === peer) use_webrtc(false);
  }
}
function hang_up() {
  if (page.peer) page.peer.close();
  page.peer = null;
}
function use_webrtc(on) {
  page.rtc = on;
  $("rtc").setAttribute("aria-pressed", on);
  $("video").hidden = !on;
  $("picture").hidden = on;
  if (on) $("picture").removeAttribute("src");
  else hang_up();
  show_picture();
}
function set_state(state, reason = "") {
  const [word, advice] = WORDS[state] || [state, ""];
  $("connection").dataset.state = state;
  const label = $("connection").lastElementChild;
  if (label.textContent !== word) label.textContent = word;
  $("stage").toggleAttribute("data-cover", state !== "live");
  const [title, text] = $("cover").children;
  title.textContent = word;
  text.textContent = reason ? `${reason} ${state === "failed" ? "" : advice}` : advice;
}

// figures --------------------------------------------------------------------------------------------
function show_status(s) {
  page.status = s;
  page.clock = Date.parse(s.time) - Date.now();
  set_state(s.state, s.reason);
  const live = s.state === "live";
  put("people", live ? s.people : "–");
  put("fps", live ? s.fps.toFixed(1) : "–");
  put("inference", s.inference_ms ? s.inference_ms.toFixed(1) : "–");
  put("viewers", Math.max(1, s.viewers));
  put("input", s.input);
  put("network", s.network || "–");
  put("engine", s.engine);
  document.title = live ? `${s.people} ${s.people === 1 ? "person" : "people"} · edgepose` : "edgepose";
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
      item.append(dot(0), make("span"), make("span", "", "quiet"), make("span"));
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

// charts ---------------------------------------------------------------------------------------------
function axis(svg, width, height, left, bottom) {
  const at = (t) => left + (width - left) * (1 - (now() - t) / 1000 / SPAN);
  const few = width < 500; // too narrow for a label at every line
  for (let minute = 0; minute <= SPAN / 60; minute++) {
    const x = at(now() - minute * 60000);
    const anchor = minute === 0 ? "end" : minute === SPAN / 60 ? "start" : "middle";
    svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: 0, y2: height - bottom }));
    if (few && minute % 2) continue;
    svg.append(draw("text", { x, y: height - 4, "text-anchor": anchor }, minute ? `−${minute} min` : "now"));
  }
  return at;
}

function show_chart() {
  const svg = $("chart"), width = Math.max(200, svg.clientWidth), height = 130, left = 18, bottom = 20;
  const since = now() - SPAN * 1000;
  while (page.people.length > 1 && page.people[1].t < since) page.people.shift();
  const most = Math.max(2, ...page.people.map((p) => p.n || 0));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const at = axis(svg, width, height, left, bottom);
  const y = (n) => height - bottom - (height - bottom - 8) * n / most;
  const step = Math.ceil(most / 4);
  for (let n = 0; n <= most; n += step) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width, y1: y(n), y2: y(n) }));
    svg.append(draw("text", { x: left - 6, y: y(n) + 4, "text-anchor": "end" }, n));
  }
  for (const part of pieces()) {
    let path = "", before = null;
    for (const p of part) {
      const x = Math.max(left, at(p.t)).toFixed(1);
      path += before === null ? `M${x} ${y(p.n)}` : `H${x}V${y(p.n)}`;
      before = p;
    }
    const first = Math.max(left, at(part[0].t)).toFixed(1);
    svg.append(draw("path", { class: "area", d: `${path}V${y(0)}H${first}Z` }));
    svg.append(draw("path", { class: "trace", d: path }));
  }
  const last = page.people[page.people.length - 1];
  svg.setAttribute("aria-label", `People in the last five minutes: now ${last && last.n !== null ? last.n : "not known"}, at most ${Math.max(0, ...page.people.map((p) => p.n || 0))}`);
}
function pieces() {
  const parts = [];
  let part = [];
  for (const p of page.people) {
    if (p.n !== null) { part.push(p); continue; }
    if (part.length) parts.push([...part, { t: p.t, n: part[part.length - 1].n }]);
    part = [];
  }
  if (part.length) parts.push([...part, { t: now(), n: part[part.length - 1].n }]);
  return parts;
}

function show_visits() {
  const svg = $("visits"), width = Math.max(200, svg.clientWidth), bottom = 20, lane = 22;
  const since = now() - SPAN * 1000;
  const visits = [...page.visits.values()].filter((v) => (v.to ?? now()) >= since).sort((a, b) => a.from - b.from);
  const ends = []; // of the last visit in each lane
  for (const v of visits) {
    const free = ends.findIndex((end) => end < v.from);
    v.lane = free < 0 ? ends.length : free;
    ends[v.lane] = v.to ?? Infinity;
  }
  const height = Math.max(2, ends.length) * lane + bottom + 2;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const at = axis(svg, width, height, 0, bottom);
  for (const v of visits) {
    const x = Math.max(0, at(v.from)), w = Math.max(3, at(v.to ?? now()) - x);
    const bar = draw("rect", { x, y: v.lane * lane + 2, width: w, height: lane - 5, rx: 4 });
    bar.style.fill = color(v.track);
    bar.append(draw("title", {}, `#${v.track}: ${new Date(v.from).toLocaleTimeString()}, ${span(((v.to ?? now()) - v.from) / 1000)}`));
    svg.append(bar);
    if (w > 26) svg.append(draw("text", { class: "visit-label", x: x + 5, y: v.lane * lane + 15 }, `#${v.track}`));
  }
  const inside = visits.filter((v) => v.to === null).length;
  svg.setAttribute("aria-label", `${visits.length} visits in the last five minutes, ${inside} of them not over`);
}

// events ---------------------------------------------------------------------------------------------
function forget_events() {
  page.newest = 0; page.loaded = false; page.cursor = ""; page.known.clear(); page.visits.clear();
  $("rows").replaceChildren();
  $("no-events").hidden = false;
  $("no-events").textContent = "No events yet.";
  $("older").hidden = true;
}
const wanted = (more) => {
  const kind = $("kind").value;
  return { source: page.source, ...(kind ? { event: kind } : {}), ...more };
};

async function load_events(cursor = "") {
  const asking = cursor ? page.asking : ++page.asking;
  try {
    const answer = await ask("/api/v1/events", wanted({ limit: 100, ...(cursor ? { cursor } : {}) }));
    if (asking !== page.asking) return; // the source was changed meanwhile
    page.cursor = answer.cursor;
    page.loaded = true;
    $("older").hidden = !answer.cursor;
    add_events(answer.events, false);
  } catch (error) {
    if (asking === page.asking) $("no-events").textContent = error.message;
  }
}
async function catch_up() {
  // what happened while there was no connection, oldest first, page by page
  if (!page.loaded) return; // what is being loaded is newer than this connection
  const asking = page.asking;
  try {
    for (let more = true; more;) {
      const answer = await ask("/api/v1/events", wanted({ order: "oldest", cursor: page.newest, limit: 500 }));
      if (asking !== page.asking) return;
      add_events(answer.events, true);
      more = answer.events.length === 500;
    }
  } catch { /* the next connection asks again */ }
}

function add_events(events, fresh) {
  const kind = $("kind").value, rows = $("rows"), said = [];
  for (const e of events) {
    note_visit(e);
    if (page.known.has(e.id) || (kind && e.event !== kind)) continue;
    page.known.add(e.id);
    page.newest = Math.max(page.newest, e.id);
    const row = event_row(e);
    if (fresh) {
      row.className = "new";
      rows.prepend(row);
      if (e.gesture) said.push(`Person ${e.track ?? ""}: ${e.gesture.replaceAll("_", " ")} ${e.event}s.`);
      else if (!e.zone) said.push(`Person ${e.track ?? ""} ${e.event === "enter" ? "entered" : "left"}.`);
    } else rows.append(row);
  }
  while (fresh && rows.children.length > MAX_ROWS) rows.lastElementChild.remove();
  $("no-events").hidden = rows.children.length > 0;
  if (said.length) $("said").textContent = said.slice(-3).join(" ");
}
function note_visit(e) {
  if (e.zone || e.gesture || e.track === null) return;
  const key = `${e.session} ${e.track}`, time = Date.parse(e.time);
  const visit = page.visits.get(key) || { track: e.track, from: time, to: null };
  if (e.event === "enter") visit.from = time;
  if (e.event === "exit") { visit.to = time; visit.from = time - (e.dwell || 0) * 1000; }
  page.visits.set(key, visit);
  if (page.visits.size > 2000) page.visits.delete(page.visits.keys().next().value);
}
function event_row(e) {
  const row = make("tr"), when = make("td"), time = make("time"), moment = new Date(e.time);
  time.dateTime = e.time;
  const today = moment.toDateString() === new Date().toDateString();
  time.textContent = today ? moment.toLocaleTimeString() : moment.toLocaleString();
  when.append(time);
  const what = make("td");
  what.append(make("span", `${e.event} ${e.direction || e.gesture.replaceAll("_", " ")}`.trim(), `what ${e.event}`));
  const who = make("td"), person = make("span", undefined, "person");
  if (e.track !== null) person.append(dot(e.track), `#${e.track}`);
  who.append(person);
  const stay = make("td", e.dwell === null ? "" : span(e.dwell), "number"), note = make("td", e.note);
  if (e.snapshot) {
    const link = make("a", "picture");
    link.href = `/api/v1/events/${e.id}/snapshot`;
    link.target = "_blank";
    link.rel = "noopener";
    note.append(" ", link);
  }
  row.append(when, what, who, make("td", e.zone), stay, note);
  return row;
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
  for (const name of there.sources) $("sources").append(tab(name));
  for (const radio of document.getElementsByName("source")) {
    radio.onchange = () => choose(radio.value);
  }
  $("sources").hidden = there.sources.length < 2;
  $("rtc").hidden = !(there.webrtc && window.RTCPeerConnection);
  const first = asked.get("source");
  choose(there.sources.includes(first) ? first : there.source);
}
$("picture").onerror = () => { // too many viewers, for example; while there is no connection, that comes first
  if (page.status && page.socket?.readyState === WebSocket.OPEN) setTimeout(show_picture, 3000);
};
$("rtc").onclick = () => use_webrtc(!page.rtc);
$("pause").onclick = () => {
  page.paused = !page.paused;
  $("pause").setAttribute("aria-pressed", page.paused);
  (page.paused ? hide_picture : show_picture)();
};
$("full").hidden = !document.fullscreenEnabled;
$("full").onclick = () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen());
$("kind").onchange = () => { forget_events(); load_events(); };
$("older").onclick = () => load_events(page.cursor);
// a page that nobody sees costs no pictures; its figures and events go on
// who leaves lets go of the camera, also where the browser keeps the page to come back to
window.onpagehide = () => {
  const old = page.socket;
  page.socket = null;
  clearTimeout(page.retry);
  if (old) old.close();
  hang_up();
  $("picture").removeAttribute("src");
};
window.onpageshow = (event) => { if (event.persisted) { page.tries = 0; connect(); } };
document.onvisibilitychange = () => (document.hidden ? hide_picture : show_picture)();
setInterval(() => { if (!document.hidden) { show_chart(); show_visits(); } }, 1000);
start();
