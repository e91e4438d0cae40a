// People and visits over time.

import { $, SPAN, ask, capital, color, draw, noun, now, page, span } from "./base.js";
import { kind_of } from "./zones.js";

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

export function show_chart() {
  if ($("span").value) show_hours();
  else show_minutes();
}
function show_minutes() {
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
  svg.setAttribute("aria-label", `${capital(noun(0))} in the last five minutes: now ${last && last.n !== null ? last.n : "not known"}, at most ${Math.max(0, ...page.people.map((p) => p.n || 0))}`);
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

// hours of the store: who entered, or crossed a line
function first_day() {
  const day = new Date();
  day.setHours(0, 0, 0, 0);
  day.setDate(day.getDate() - Number($("span").value) + 1);
  return day;
}
export async function load_hours() {
  page.hours = null;
  const name = $("of").value, [source, days] = [page.source, $("span").value];
  if (!days) return show_chart();
  const wanted = { source, zone: name, event: kind_of(name), since: first_day().toISOString() };
  let hours;
  try {
    hours = { rows: (await ask("/api/v1/events/hours", wanted)).hours };
  } catch (error) {
    hours = { rows: [], error: error.message };
  }
  if (source === page.source && days === $("span").value && name === $("of").value) page.hours = { ...hours, kind: wanted.event };
  show_chart();
}
function show_hours() {
  const svg = $("chart"), width = Math.max(200, svg.clientWidth), height = 130, left = 24, bottom = 20;
  const begin = first_day(), days = Number($("span").value), { rows, kind, error } = page.hours || { rows: [], kind: "enter" };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const end = new Date(begin);
  end.setDate(end.getDate() + days);
  const at = (t) => left + (width - left) * (t - begin) / (end - begin);
  const counts = rows.map((row) => row[kind]), most = Math.max(4, ...counts);
  const y = (n) => height - bottom - (height - bottom - 10) * n / most;
  for (const n of [0, Math.round(most / 2), most]) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width, y1: y(n), y2: y(n) }), draw("text", { x: left - 5, y: y(n) + 4, "text-anchor": "end" }, n));
  }
  for (let k = 0; k < (days > 1 ? days : 24); k += days > 1 ? 1 : 6) {
    const t = new Date(begin);
    if (days > 1) t.setDate(t.getDate() + k); else t.setHours(k);
    svg.append(draw("text", { x: at(t), y: height - 4 }, days > 1 ? t.toLocaleDateString([], { weekday: "short" }) : t.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  }
  const wide = Math.max(1.5, (width - left) / (days * 24) - (days > 1 ? 0.5 : 2));
  rows.forEach((row, k) => {
    const start = new Date(row.start), bar = draw("rect", { class: "hour", x: Math.max(left, at(start)), y: y(counts[k]), width: wide, height: y(0) - y(counts[k]) });
    bar.append(draw("title", {}, `${start.toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" })}: ${counts[k]}`));
    svg.append(bar);
  });
  const sum = counts.reduce((a, b) => a + b, 0), top = counts.indexOf(Math.max(...counts));
  const word = kind === "cross" ? "crossings" : "entered";
  const text = error || (page.hours ? `${sum} ${word}` : "Loading …");
  svg.append(draw("text", { x: width, y: 10, "text-anchor": "end" }, text));
  svg.setAttribute("aria-label", `${days > 1 ? "Seven days" : "Today"} by hour: ${text}${top < 0 ? "" : `, most in the hour from ${new Date(rows[top].start).toLocaleString()}: ${counts[top]}`}`);
}

export function show_visits() {
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
