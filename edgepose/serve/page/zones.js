// Zones and lines over the picture, and their editor. Points are parts of the picture, 0..1.

import { $, ask, draw, make, noun, page, query } from "./base.js";

const SVG = $("zones");
const state = {
  rows: [], draft: [], revision: "", held: "", kept: true, editing: false,
  past: [], future: [], drag: null, counts: {}, typed: "",
};
const points = (row) => row.polygon || row.line;
const copy = (rows) => JSON.parse(JSON.stringify(rows));
const part = (v) => Math.round(Math.min(1, Math.max(0, v)) * 1e4) / 1e4;
const percent = (v) => Math.round(v * 1000) / 10;

export function forget_zones() {
  leave();
  take({ zones: [], revision: "", held: "", kept: true });
}
export async function load_zones() {
  const source = page.source;
  try {
    const document = await ask("/api/v1/zones", { source });
    if (source === page.source) take(document);
  } catch { /* without them there is still the picture */ }
}
export function take(document) {
  Object.assign(state, { rows: document.zones, held: document.held, kept: document.kept });
  if (!state.editing) state.revision = document.revision;
  $("edit").disabled = Boolean(document.held);
  $("edit").title = document.held || "Draw zones and lines on the picture";
  const of = $("of"), chosen = of.value, all = make("option", "the picture");
  all.value = "";
  of.replaceChildren(all, ...state.rows.map((row) => make("option", row.name)));
  of.value = state.rows.some((row) => row.name === chosen) ? chosen : "";
  of.parentElement.hidden = !state.rows.length || !$("span").value;
  show_zones();
}
export const kind_of = (name) => (state.rows.some((row) => row.name === name && row.line) ? "cross" : "enter");
export function count_zones(counts) {
  if (JSON.stringify(counts) === JSON.stringify(state.counts)) return;
  state.counts = counts;
  if (!state.editing) show_zones();
}

// on the picture -------------------------------------------------------------------------------------
function place() { // where the picture lies in its frame, which may be of another shape
  const video = $("video").hidden ? null : $("video"), picture = $("picture");
  const w = (video ? video.videoWidth : picture.naturalWidth) || 16, h = (video ? video.videoHeight : picture.naturalHeight) || 9;
  const scale = Math.min(SVG.clientWidth / w, SVG.clientHeight / h);
  return { x: (SVG.clientWidth - w * scale) / 2, y: (SVG.clientHeight - h * scale) / 2, w: w * scale, h: h * scale };
}

export function show_zones() {
  const rows = state.editing ? state.draft : state.rows;
  SVG.toggleAttribute("hidden", !rows.length && !state.editing);
  const at = place();
  const focus = document.activeElement?.dataset?.key;
  const onto = ([x, y]) => [at.x + x * at.w, at.y + y * at.h];
  SVG.replaceChildren();
  SVG.setAttribute("viewBox", `0 0 ${SVG.clientWidth || 1} ${SVG.clientHeight || 1}`);
  rows.forEach((row, i) => {
    const spots = points(row).map(onto);
    const shape = draw(row.polygon ? "polygon" : "polyline", { points: spots.join(" "), class: row.polygon ? "zone" : "line", "data-shape": i });
    SVG.append(shape);
    if (row.line) directions(row, spots);
    const count = state.counts[row.name];
    const top = spots.reduce((a, b) => (b[1] < a[1] ? b : a));
    const x = Math.min(Math.max(top[0] + 6, 6), SVG.clientWidth - 9 * row.name.length), y = Math.max(16, top[1] - 7);
    SVG.append(draw("text", { x, y, class: "zone-name" }, !state.editing && row.polygon && count !== undefined ? `${row.name} · ${count}` : row.name));
  });
  if (state.editing) rows.forEach((row, i) => handles(row, i, onto));
  const named = rows.map((row) => (row.line ? `line ${row.name}` : `${row.name}: ${state.counts[row.name] ?? 0} ${noun(state.counts[row.name] ?? 0)}`));
  SVG.setAttribute("role", state.editing ? "application" : "img");
  SVG.setAttribute("aria-label", state.editing ? "Points of the zones: Tab goes from one to the next, arrow keys move it, Delete removes it" : `Zones. ${named.join(", ") || "None"}`);
  if (focus) SVG.querySelector(`[data-key="${focus}"]`)?.focus({ preventScroll: true });
}
function directions(row, spots) {
  const k = Math.floor((spots.length - 2) / 2), [a, b] = [spots[k], spots[k + 1]];
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy) || 1;
  const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  for (const [word, way] of [[row.right || "right", 1], [row.left || "left", -1]]) {
    const [nx, ny] = [-dy / length * way, dx / length * way]; // y points down: this is the right hand
    const tip = (far, aside) => [middle[0] + nx * far + dx / length * aside * way, middle[1] + ny * far + dy / length * aside * way];
    SVG.append(draw("polyline", { class: "way", points: [tip(3, 9), tip(24, 9), tip(17, 5), tip(24, 9), tip(17, 13)].join(" ") }));
    const [x, y] = tip(38, 9);
    SVG.append(draw("text", { x, y: y + 4, class: "zone-name", "text-anchor": nx < -0.5 ? "end" : nx > 0.5 ? "start" : "middle" }, word));
  }
}
function handles(row, i, onto) {
  const all = points(row), last = row.polygon ? all.length : all.length - 1;
  for (let k = 0; k < last; k++) {
    const [a, b] = [all[k], all[(k + 1) % all.length]];
    handle(onto([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]), { shape: i, mid: k }, 4, `Add a point to ${row.name} behind point ${k + 1}`);
  }
  all.forEach((p, k) => handle(onto(p), { shape: i, point: k }, 7, `${row.name}, point ${k + 1} of ${all.length}: ${percent(p[0])} % from the left, ${percent(p[1])} % from the top`));
}
function handle([cx, cy], data, r, label) {
  const g = draw("g", { class: data.mid === undefined ? "point" : "mid", tabindex: 0, role: "button", "aria-label": label });
  Object.assign(g.dataset, data, { key: `${data.shape}-${data.mid === undefined ? "p" : "m"}${data.mid ?? data.point}` });
  g.append(draw("circle", { cx, cy, r: data.mid === undefined ? 16 : 11, class: "reach" }), draw("circle", { cx, cy, r }));
  SVG.append(g);
}

// changes --------------------------------------------------------------------------------------------
function remember(typed = "") {
  // arrow keys on one point are one step
  if (typed && typed === state.typed) return;
  state.typed = typed;
  state.past.push(copy(state.draft));
  state.future = [];
}
function step(from, to) {
  if (!from.length) return;
  to.push(copy(state.draft));
  state.draft = from.pop();
  state.typed = "";
  refresh();
}
function refresh() {
  show_zones();
  list_shapes();
  $("undo").disabled = !state.past.length;
  $("redo").disabled = !state.future.length;
  $("no-shapes").hidden = state.draft.length > 0;
}
function change(act, typed) {
  remember(typed);
  act();
  refresh();
}
function insert(shape, k) {
  const all = points(state.draft[shape]), [a, b] = [all[k], all[(k + 1) % all.length]];
  all.splice(k + 1, 0, [part((a[0] + b[0]) / 2), part((a[1] + b[1]) / 2)]);
}
function remove(shape, k) {
  const row = state.draft[shape];
  if (points(row).length > (row.polygon ? 3 : 2)) change(() => points(row).splice(k, 1));
  else say(`${row.name} needs its points; delete it as a whole.`);
}
function add(kind) {
  const names = state.draft.map((row) => row.name);
  let n = 1;
  while (names.includes(`${kind} ${n}`)) n++;
  const row = { name: `${kind} ${n}` };
  if (kind === "zone") row.polygon = [[0.35, 0.35], [0.65, 0.35], [0.65, 0.75], [0.35, 0.75]];
  else Object.assign(row, { line: [[0.3, 0.6], [0.7, 0.6]], right: "in", left: "out" });
  change(() => state.draft.push(row));
  const name = $(`name-${state.draft.length - 1}`);
  name.focus({ preventScroll: true }); // the picture stays in sight
  name.select();
}

SVG.onpointerdown = (event) => {
  const target = event.target.closest("[data-shape]");
  if (!state.editing || !target) return;
  const shape = Number(target.dataset.shape);
  let { point, mid } = target.dataset;
  remember();
  if (mid !== undefined) { insert(shape, Number(mid)); point = Number(mid) + 1; }
  state.drag = { shape, point: point === undefined ? null : Number(point), x: event.clientX, y: event.clientY };
  SVG.setPointerCapture(event.pointerId);
  event.preventDefault();
};
SVG.onpointermove = (event) => {
  const drag = state.drag;
  if (!drag) return;
  const at = place(), all = points(state.draft[drag.shape]);
  const by = [(event.clientX - drag.x) / at.w, (event.clientY - drag.y) / at.h];
  for (const axis of [0, 1]) { // a whole shape stops at the edge and keeps its form
    const moved = drag.point === null ? all : [all[drag.point]], values = moved.map((p) => p[axis]);
    by[axis] = Math.min(1 - Math.max(...values), Math.max(-Math.min(...values), by[axis]));
    for (const p of moved) p[axis] += by[axis];
  }
  drag.x += by[0] * at.w;
  drag.y += by[1] * at.h;
  show_zones();
};
SVG.onpointerup = SVG.onpointercancel = () => {
  if (!state.drag) return;
  state.drag = null;
  for (const row of state.draft) for (const p of points(row)) [p[0], p[1]] = p.map(part);
  refresh();
};
SVG.onkeydown = (event) => {
  const { shape, point, mid, key } = event.target.dataset ?? {};
  if (shape === undefined) return;
  const size = event.shiftKey ? 0.05 : event.altKey ? 0.001 : 0.01;
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (mid !== undefined && (event.key === "Enter" || event.key === " ")) change(() => insert(Number(shape), Number(mid)));
  else if (point !== undefined && way) {
    const p = points(state.draft[shape])[point];
    change(() => { [p[0], p[1]] = [part(p[0] + way[0] * size), part(p[1] + way[1] * size)]; }, key);
  } else if (point !== undefined && (event.key === "Delete" || event.key === "Backspace")) remove(Number(shape), Number(point));
  else return;
  event.preventDefault();
};

// the editor -----------------------------------------------------------------------------------------
function field(i, key, label, value, set) {
  const box = make("label", label), input = make("input");
  Object.assign(input, { id: `${key}-${i}`, value, required: true, maxLength: 100 });
  input.onchange = () => change(() => set(input.value.trim()));
  box.append(input);
  return box;
}
function button(label, act) {
  const made = make("button", label);
  made.type = "button";
  made.onclick = act;
  return made;
}
function list_shapes() {
  const focus = document.activeElement?.id, open = new Set([...$("shapes").querySelectorAll("details[open]")].map((d) => d.id));
  $("shapes").replaceChildren(...state.draft.map((row, i) => {
    const item = make("li");
    item.append(field(i, "name", row.polygon ? "Zone" : "Line", row.name, (text) => { row.name = text; }));
    if (row.line) {
      item.append(field(i, "right", "To the right", row.right || "right", (text) => { row.right = text; }));
      item.append(field(i, "left", "To the left", row.left || "left", (text) => { row.left = text; }));
      item.append(button("Turn round", () => change(() => row.line.reverse())));
    }
    item.append(button("Delete", () => { change(() => state.draft.splice(i, 1)); $("add-zone").focus(); }));
    const more = make("details");
    more.id = `points-${i}`;
    more.open = open.has(more.id);
    more.append(make("summary", "Points and place"), where(row, i), ...points(row).map((p, k) => numbers(row, i, p, k)));
    item.append(more);
    return item;
  }));
  if (focus) $(focus)?.focus({ preventScroll: true });
}
function where(row, i) {
  const box = make("label", `A ${noun(1)} is at the`), select = make("select");
  for (const [value, word] of [["bottom", "feet"], ["hips", "hips"], ["centre", "middle"]]) {
    const option = make("option", word);
    option.value = value;
    select.append(option);
  }
  Object.assign(select, { id: `where-${i}`, value: row.reference || "bottom" });
  select.onchange = () => change(() => { row.reference = select.value; });
  box.append(select);
  return box;
}
function numbers(row, i, p, k) {
  const line = make("div", undefined, "numbers");
  for (const [axis, word] of [[0, "left"], [1, "top"]]) {
    const box = make("label", `Point ${k + 1}, % from the ${word}`), input = make("input");
    Object.assign(input, { type: "number", min: 0, max: 100, step: 0.1, id: `n-${i}-${k}-${axis}`, value: percent(p[axis]) });
    input.onchange = () => change(() => { p[axis] = part(Number(input.value) / 100); });
    box.append(input);
    line.append(box);
  }
  const del = button("Remove", () => remove(i, k));
  del.setAttribute("aria-label", `Remove point ${k + 1}`);
  line.append(del);
  return line;
}
function say(text) { $("editor-said").textContent = text; }

function open() {
  if (JSON.stringify(state.draft) !== JSON.stringify(state.rows)) [state.past, state.future] = [[], []];
  state.editing = true;
  state.draft = copy(state.rows);
  $("editor").hidden = false;
  $("edit").setAttribute("aria-expanded", true);
  $("stage").toggleAttribute("data-editing", true);
  say(state.kept ? "" : "These zones last until the server ends: it was started without --zones and without a database.");
  refresh();
  $("add-zone").focus({ preventScroll: true });
}
function leave() {
  state.editing = false;
  $("editor").hidden = true;
  $("edit").setAttribute("aria-expanded", false);
  $("stage").toggleAttribute("data-editing", false);
  show_zones();
}
async function save() {
  const answer = await fetch("/api/v1/zones" + query({ source: page.source }), {
    method: "PUT", headers: { "content-type": "application/json" },
    body: JSON.stringify({ zones: state.draft, revision: state.revision }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  state.editing = false; // so that its revision is taken
  take(body);
  state.draft = copy(state.rows);
  leave();
  $("edit").focus();
}
$("edit").onclick = () => (state.editing ? leave() : open());
$("add-zone").onclick = () => add("zone");
$("add-line").onclick = () => add("line");
$("undo").onclick = () => step(state.past, state.future);
$("redo").onclick = () => step(state.future, state.past);
$("cancel").onclick = () => { [state.past, state.future] = [[], []]; leave(); load_zones(); $("edit").focus(); };
$("editor").onsubmit = (event) => {
  event.preventDefault();
  say("Saving …");
  save().catch((error) => say(error.message));
};
document.addEventListener("keydown", (event) => {
  if (!state.editing || event.target.tagName === "INPUT") return;
  if (event.key === "Escape") $("cancel").click();
  else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    $(event.shiftKey ? "redo" : "undo").click();
  }
});
new ResizeObserver(show_zones).observe(SVG);
let size = "";
$("picture").addEventListener("load", () => { // some browsers say so for each frame
  const now = `${$("picture").naturalWidth}x${$("picture").naturalHeight}`;
  if (now !== size) show_zones();
  size = now;
});
$("video").addEventListener("resize", show_zones);
