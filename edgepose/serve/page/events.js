// The table of events, and the visits that follow from them.

import { $, ask, capital, dot, make, moment, noun, page, span } from "./base.js";

const MAX_ROWS = 500;

export function forget_events() {
  page.newest = 0; page.loaded = false; page.cursor = ""; page.known.clear(); page.visits.clear();
  $("rows").replaceChildren();
  $("no-events").hidden = false;
  $("no-events").textContent = "No events yet.";
  $("older").hidden = true;
}
const wanted = (more) => {
  const kind = $("kind").value;
  return { ...(page.source ? { source: page.source } : {}), ...(kind ? { event: kind } : {}), ...more };
};

export async function load_events(cursor = "") {
  const asking = cursor ? page.asking : ++page.asking;
  page.failed = false;
  try {
    const answer = await ask("/api/v1/events", wanted({ limit: 100, ...(cursor ? { cursor } : {}) }));
    if (asking !== page.asking) return; // the source was changed meanwhile
    page.cursor = answer.cursor;
    page.loaded = true;
    $("older").hidden = !answer.cursor;
    add_events(answer.events, false);
  } catch (error) {
    if (asking !== page.asking) return;
    page.failed = !page.loaded;
    $("no-events").textContent = error.message;
  }
}
export async function catch_up() {
  // what happened while there was no connection, oldest first, page by page
  if (page.failed) load_events(); // the list itself was never answered
  if (!page.loaded) return; // what is being loaded is newer than this connection
  const asking = page.asking;
  try {
    let cursor = page.newest; // which what is heard meanwhile moves on
    for (let more = true; more;) {
      const answer = await ask("/api/v1/events", wanted({ order: "oldest", cursor, limit: 500 }));
      if (asking !== page.asking) return;
      add_events(answer.events, true);
      more = answer.events.length === 500;
      cursor = answer.events.at(-1)?.id;
    }
  } catch { /* the next connection asks again */ }
}

export function add_events(events, fresh) {
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
      if (e.gesture) said.push(`${capital(noun(1))} ${e.track ?? ""}: ${e.gesture.replaceAll("_", " ")} ${e.event}s.`);
      else if (!e.zone) said.push(`${capital(noun(1))} ${e.track ?? ""} ${e.event === "enter" ? "entered" : "left"}.`);
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
  const row = make("tr"), when = make("td"), time = moment(e.time);
  when.append(time);
  const what = make("td"), where = make("small", e.zone, "where"); // on phones, where the column has no room
  const word = make("span", `${e.event} ${e.direction || e.gesture.replaceAll("_", " ")}`.trim(), `what ${e.event}`);
  word.dataset.gesture = e.gesture;
  what.append(word, where);
  const who = make("td"), person = make("span", undefined, "person");
  if (e.track !== null) person.append(dot(e.track), `#${e.track}`);
  who.append(person);
  const stay = make("td", e.dwell === null ? "" : span(e.dwell), "number");
  const sure = e.gesture && e.score ? `${Math.round(e.score * 100)} % sure` : "";
  const note = make("td", [sure, e.note].filter(Boolean).join(", "));
  if (e.snapshot) {
    const link = make("a"), small = make("img", undefined, "thumb");
    Object.assign(small, { loading: "lazy", alt: `Picture: ${e.event} at ${time.textContent}`, src: `/api/v1/events/${e.id}/snapshot?size=160` });
    link.append(small);
    link.href = `/api/v1/events/${e.id}/snapshot`;
    link.target = "_blank";
    link.rel = "noopener";
    note.append(" ", link);
  }
  row.append(when, what, who, make("td", e.zone), stay, make("td", e.camera, "camera"), note);
  return row;
}
