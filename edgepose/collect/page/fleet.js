"use strict";
const $ = id => document.getElementById(id);
const REFRESH = 5000;
let oldest = "";

function row(cells, state) {
  const line = document.createElement("tr");
  if (state) line.dataset.state = state;
  for (const [text, warn] of cells) {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (warn) cell.className = "warn";
    line.append(cell);
  }
  return line;
}

function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

function device(d) {
  const clock = d.clock_offset === null ? "" : `${d.clock_offset > 0 ? "+" : ""}${d.clock_offset.toFixed(1)} s`;
  const waiting = d.waiting === null ? "" : `${d.waiting}${d.dropped ? `, ${d.dropped} lost` : ""}`;
  const settings = d.config_error ? `${d.config_wanted} failed: ${d.config_error}` : d.config ? String(d.config) : "";
  return row([
    [d.name], [d.state + (d.duplicate ? ", twice" : "")], [ago(d.seconds_ago)], [d.fps === null ? "" : String(d.fps)],
    [waiting, d.dropped > 0], [clock, Math.abs(d.clock_offset || 0) > 2], [d.version], [settings, d.config_error],
  ], d.state);
}

function event(e) {
  const what = `${e.event} ${e.direction || (e.gesture || "").replaceAll("_", " ")}`.trim();
  return row([
    [new Date(e.time).toLocaleString()], [e.device], [e.camera || ""], [what], [e.track === null ? "" : `#${e.track}`],
    [e.zone || ""], [e.dwell === null ? "" : e.dwell.toFixed(1)],
  ]);
}

async function ask(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json()).error || answer.status);
  return answer.json();
}

function query(cursor) {
  const words = new URLSearchParams();
  for (const [name, value] of new FormData($("filter"))) if (value) words.append(name, value);
  if (cursor) words.append("cursor", cursor);
  return `/api/v1/events?${words}`;
}

async function show(cursor) {
  const found = await ask(query(cursor));
  const lines = found.events.map(event);
  if (cursor) $("events").append(...lines); else $("events").replaceChildren(...lines);
  oldest = found.cursor;
  $("more").hidden = !oldest;
}

async function refresh() {
  try {
    const found = await ask("/api/v1/devices");
    $("devices").replaceChildren(...found.devices.map(device));
    $("none").hidden = found.devices.length > 0;
    if ($("events").children.length <= 50) await show("");
    $("store").querySelector("span").textContent = found.error || (found.connected ? "Collecting" : "No broker");
    $("store").dataset.state = found.error || !found.connected ? "lost" : "live";
  } catch (error) {
    $("store").querySelector("span").textContent = error.message;
    $("store").dataset.state = "lost";
  }
}

$("filter").addEventListener("submit", e => { e.preventDefault(); show(""); });
$("more").addEventListener("click", () => show(oldest));
refresh();
setInterval(refresh, REFRESH);
