// What all parts of the page share: its state, how the API is asked, and how elements are made.

export const SPAN = 300; // seconds in the live chart and in the visits
export const $ = (id) => document.getElementById(id);
export const asked = new URLSearchParams(location.search);
const passed = new URLSearchParams();
for (const name of ["device-name", "precision"]) {
  if (asked.has(name)) passed.set(name, asked.get(name));
}

export const page = {
  source: null, socket: null, tries: 0, retry: 0, paused: false,
  rtc: false, peer: null, // video by WebRTC instead of MJPEG
  state: "connecting", reason: "", told: 0, heard: 0, // when figures came, and anything
  hours: null, // counts by hour, where more than five minutes are shown
  status: null, clock: 0, // server's time minus ours, ms
  people: [], // {t: ms of the server, n: people or null where it is not known}
  visits: new Map(), // by session and track: {track, from, to (null while inside)}
  newest: 0, cursor: "", known: new Set(), asking: 0, loaded: false, failed: false,
};

// whom the network finds: people, or hands
export const noun = (n, one = page.status?.what || "person") => {
  if (n === 1) return one;
  return one === "person" ? "people" : `${one}s`;
};
export const capital = (word) => word[0].toUpperCase() + word.slice(1);
export const now = () => Date.now() + page.clock;
export const query = (more = {}) => {
  const all = new URLSearchParams(passed);
  for (const [name, value] of Object.entries(more)) all.set(name, value);
  return String(all) ? `?${all}` : "";
};
export async function ask(path, more) {
  const answer = await fetch(path + query(more), { headers: { accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

// the same colour as in the picture: steps of the golden ratio around the circle of hues
export function color(track) {
  if (track === null) return "#fff";
  const h = (track * 0.618034 % 1) * 6, s = 0.65;
  const part = (n) => { const k = (n + h) % 6; return Math.round(255 * (1 - s * Math.max(0, Math.min(k, 4 - k, 1)))); };
  return `rgb(${part(5)} ${part(3)} ${part(1)})`;
}
export function make(tag, text, classes) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (classes) e.className = classes;
  return e;
}
export function draw(tag, attributes, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}
export function dot(track) {
  const e = make("span", undefined, "dot");
  e.style.backgroundColor = color(track);
  return e;
}
export function span(seconds) {
  seconds = Math.max(0, seconds);
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
export function moment(iso) {
  const e = make("time"), when = new Date(iso);
  e.dateTime = iso;
  const today = when.toDateString() === new Date().toDateString();
  e.textContent = today ? when.toLocaleTimeString() : when.toLocaleString();
  return e;
}
export const put = (id, text) => { const e = $(id); if (e.textContent !== String(text)) e.textContent = text; };
