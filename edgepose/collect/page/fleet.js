// The devices of a fleet and their events, asked for every few seconds.

import { $, ask, dot, make, moment, put, span } from "./base.js";

const REFRESH = 5000, MAX_ROWS = 500;
const shown = { filter: {}, known: new Set(), older: "", paged: false, asking: 0 };

const age = (seconds) => seconds < 90 ? `${Math.round(seconds)} s ago`
  : seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
const signed = (seconds) => `${seconds > 0 ? "+" : ""}${seconds.toFixed(1)} s`;
// whether somebody should look at a device
const troubled = (d) => d.state !== "up" || d.duplicate || d.cameras_up < d.cameras || Boolean(d.config_error);

function device_row(d) {
  const row = make("tr"), name = make("th", d.name);
  name.scope = "row";
  const lost = d.cameras - d.cameras_up;
  const cells = [
    [d.state + (d.duplicate ? ", twice" : ""), d.state !== "up" || d.duplicate],
    [age(d.seconds_ago)],
    [d.fps ?? ""],
    [d.cameras ? (lost ? `${d.cameras_up} of ${d.cameras}` : d.cameras) : "", lost],
    [d.waiting === null ? "" : `${d.waiting}${d.dropped ? `, ${d.dropped} lost` : ""}`, d.dropped],
    [d.clock_offset === null ? "" : signed(d.clock_offset), Math.abs(d.clock_offset) > 2],
    [d.version],
    [d.config_error ? `${d.config_wanted} failed: ${d.config_error}` : d.config || "", d.config_error],
  ];
  row.append(name, ...cells.map(([text, bad]) => make("td", text, bad ? "warn" : "")));
  return row;
}

async function show_devices() {
  const told = await ask("/api/v1/devices"), states = {};
  for (const d of told.devices) states[d.state] = (states[d.state] || 0) + 1;
  put("count", Object.entries(states).map(([state, n]) => `${n} ${state}`).join(", "));
  told.devices.sort((a, b) => troubled(b) - troubled(a));
  $("devices").replaceChildren(...told.devices.map(device_row));
  $("none").hidden = told.devices.length > 0;
  say(told.error || (told.connected ? "Collecting" : "No broker"), !told.error && told.connected);
}

function event_row(e) {
  const row = make("tr"), when = make("td"), what = make("td"), who = make("td");
  when.append(moment(e.time));
  const word = make("span", `${e.event} ${e.direction || (e.gesture || "").replaceAll("_", " ")}`.trim(), `what ${e.event}`);
  word.dataset.gesture = e.gesture;
  what.append(word, make("small", e.zone, "where")); // on phones, where the column has no room
  const person = make("span", undefined, "person");
  if (e.track !== null) person.append(dot(e.track), `#${e.track}`);
  who.append(person);
  const stay = make("td", e.dwell === null ? "" : span(e.dwell), "number");
  row.append(when, what, who, make("td", e.zone), stay, make("td", e.device), make("td", e.camera));
  return row;
}

// cursor: "" for the newest, else for what is older than those that are shown
async function show_events(cursor = "") {
  const asking = ++shown.asking;
  const told = await ask("/api/v1/events", { ...shown.filter, ...(cursor ? { cursor } : {}) });
  if (asking !== shown.asking) return; // other ones were asked for meanwhile
  const some = told.events.filter((e) => !shown.known.has(e.id)), rows = $("events");
  if (cursor) rows.append(...some.map(event_row));
  else if (some.length === told.events.length || (shown.known.size > MAX_ROWS && !shown.paged)) {
    // the first ones, or more than one answer holds: what lies between is not there
    shown.known.clear();
    shown.paged = false;
    rows.replaceChildren(...told.events.map(event_row));
  } else rows.prepend(...some.map(event_row));
  if (cursor || !shown.known.size) shown.older = told.cursor;
  if (cursor) shown.paged = true;
  for (const e of told.events) shown.known.add(e.id);
  $("older").hidden = !shown.older;
  $("no-events").hidden = shown.known.size > 0;
  put("no-events", Object.keys(shown.filter).length ? "No such events." : "No events yet.");
}

function say(text, good) {
  $("store").dataset.state = good ? "live" : "lost";
  $("store").querySelector("span").textContent = text;
}

async function refresh() {
  try {
    await show_devices();
    await show_events();
    document.body.removeAttribute("data-stale");
  } catch (error) {
    say(error instanceof TypeError ? "No connection" : error.message, false); // fetch's own words differ
    document.body.dataset.stale = "";
  }
}
async function ask_events(cursor) {
  try { await show_events(cursor); } catch (error) {
    $("no-events").hidden = false;
    put("no-events", error.message);
  }
}

$("filter").addEventListener("submit", (e) => {
  e.preventDefault();
  shown.filter = Object.fromEntries([...new FormData($("filter"))].filter(([, value]) => value));
  shown.known.clear();
  ask_events();
});
$("older").addEventListener("click", () => ask_events(shown.older));
document.addEventListener("visibilitychange", refresh); // who comes back sees what is now
refresh();
setInterval(refresh, REFRESH);
