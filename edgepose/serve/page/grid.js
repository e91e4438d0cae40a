// All cameras at a glance. Pictures are asked for one by one: a browser holds only six connections to a server, and a
// stream for each tile would take them all.

import { $, ask, make, noun, put, query } from "./base.js";
import { catch_up } from "./events.js";

const PICTURE = 250, TRY = 1500, FIGURES = 1000; // ms between pictures, tries and figures
const tiles = new Map();
let turn = 0; // counts showings: what belongs to an earlier one ends

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function tile(name, choose) {
  const item = make("li"), open = make("button", undefined, "tile"), words = make("span", undefined, "tile-words");
  const picture = make("img"), cover = make("span", undefined, "tile-cover");
  open.type = "button";
  open.onclick = () => choose(name);
  picture.alt = "";
  words.append(make("i"), make("b", name), make("span"));
  open.append(picture, cover, words);
  item.append(open);
  return { name, item, open, picture, cover, words, state: "connecting" };
}

export function show_grid(names, choose, words) {
  const mine = ++turn;
  tiles.clear();
  for (const name of names) tiles.set(name, tile(name, choose));
  $("tiles").replaceChildren(...[...tiles.values()].map((one) => one.item));
  for (const one of tiles.values()) tell(one, words, { state: "connecting" });
  follow(mine, words);
  for (const one of tiles.values()) look(mine, one);
}
export function hide_grid() {
  turn++;
  for (const one of tiles.values()) show(one, null);
  tiles.clear();
}

async function follow(mine, words) {
  while (mine === turn) {
    try {
      const { channels } = document.hidden ? {} : await ask("/api/v1/stats");
      if (mine !== turn) return;
      // the first of a name is that with the usual engine
      for (const status of [...(channels || [])].reverse()) {
        if (tiles.has(status.source)) tell(tiles.get(status.source), words, status);
      }
      if (channels) await catch_up();
    } catch {
      for (const one of tiles.values()) tell(one, words, { state: "offline" });
    }
    if (mine === turn) sum_up(words);
    await sleep(FIGURES);
  }
}

function tell(one, words, status) {
  one.state = status.state;
  one.people = status.state === "live" ? status.people : null;
  one.what = status.what;
  const [word, advice] = words[status.state] || [status.state, ""];
  const rate = one.people === null ? word : `${one.people} ${noun(one.people, one.what)} · ${status.fps.toFixed(1)}/s`;
  one.open.dataset.state = status.state;
  one.words.lastElementChild.textContent = rate;
  one.cover.textContent = one.people === null ? `${word}. ${status.reason || advice}` : "";
}

function sum_up(words) {
  const all = [...tiles.values()], live = all.filter((one) => one.people !== null);
  const gone = all.every((one) => one.state === "offline");
  const people = live.reduce((sum, one) => sum + one.people, 0), found = `${people} ${noun(people, live[0]?.what)}`;
  $("connection").dataset.state = gone ? "offline" : live.length === all.length ? "live" : live.length ? "connecting" : "lost";
  const word = gone ? words.offline[0] : `${live.length} of ${all.length} live`;
  const label = $("connection").lastElementChild;
  if (label.textContent !== word) label.textContent = word;
  put("all-people", live.length ? `${found} in all` : "");
  document.title = live.length ? `${found} · edgepose` : "edgepose";
}

async function look(mine, one) {
  while (mine === turn) {
    let found = false;
    try {
      if (!document.hidden) {
        const answer = await fetch("/api/v1/picture" + query({ source: one.name, size: 640 }));
        found = answer.status === 200;
        const picture = found ? await answer.blob() : null;
        if (mine !== turn) return;
        if (found) show(one, picture);
      }
    } catch { /* the figures tell that the server is away */ }
    await sleep(found ? PICTURE : TRY);
  }
}
function show(one, picture) {
  const before = one.picture.src;
  if (picture) one.picture.src = URL.createObjectURL(picture);
  if (before) URL.revokeObjectURL(before);
}
