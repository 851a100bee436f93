// What is in the data is someone's text: it becomes textContent and nothing else, and a link only where
// it says http(s). The policy on top of the page enforces it.

const { batch, items } = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const ROWS = 6; // of a block
const NARROWEST = 216; // a column, in pixels; half of a phone's width there

function make(tag, settings = {}, ...children) {
  const { className, text, ...attributes } = settings;
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child));
  return element;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
const SOUND = "M3 12h1.5M7 8v8M11 4v16M15 8.5v7M19 6v12M22.5 12H22";
const PLAY = "M8 5.5v13l10.5-6.5z";
const PAPER = "M6 3h8l4 4v14H6zM14 3v4h4";

// --- words and numbers

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const count = (number) => grouped.format(number);

function duration(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds) % 60} s`;
  return `${count(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

function rate(perSecond) {
  if (!perSecond) return ["–", ""];
  if (perSecond >= 1) return [perSecond.toFixed(perSecond < 100 ? 1 : 0), " / s"];
  return perSecond * 60 >= 1 ? [(perSecond * 60).toFixed(1), " / min"] : [(perSecond * 3600).toFixed(1), " / h"];
}

// Digits are grouped by hand: units are exact decimals, and seeds have up to 64 bits.
const digits = (text) => text.replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
const units = (text) => `${digits(text)} ${text === "1" ? "unit" : "units"}`;
const COST = { not_billed: "Not billed", unknown: "May have been billed", billed: "Billed" };
const billing = (item) => item.billing || "billed";

// --- the numbers on top

function number(name, value, unit, className) {
  const dd = make("dd", { className, text: value }, unit && make("small", { text: unit }));
  $("numbers").append(make("div", {}, make("dt", { text: name }), dd));
}

function showNumbers() {
  const done = items.length - batch.failed;
  $("title").textContent = batch.title;
  const told = [];
  if (batch.model !== batch.title) told.push(batch.model);
  if (batch.written) {
    const format = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
    told.push(format.format(new Date(batch.written)));
  }
  $("byline").textContent = told.join(" · ");
  if (!batch.finished) $("byline").after(make("span", { className: "badge", text: "Still running" }));
  number("Done", count(done), batch.expected ? ` of ${count(batch.expected)}` : "");
  number("Failed", count(batch.failed), "", batch.failed ? "bad" : "");
  number("In doubt", count(batch.in_doubt), "", batch.in_doubt ? "doubt" : "");
  number("Units billed", digits(batch.units), batch.unknown ? ` + ${count(batch.unknown)} unsure` : "");
  number("Median call", duration(batch.median));
  number("All calls", duration(batch.elapsed));
  if (batch.seconds !== null) number("Took", duration(batch.seconds));
  if (batch.rate) number("Rate", ...rate(batch.rate));
  const parts = [["good", done, "done"], ["bad", batch.failed, "failed"], ["doubt", batch.in_doubt, "in doubt"]];
  const whole = Math.max(batch.expected || 0, items.length + batch.in_doubt);
  for (const [className, part] of parts) {
    if (!part) continue;
    const bar = make("i", { className });
    bar.style.flexBasis = `${(100 * part) / whole}%`;
    $("share").append(bar);
  }
  $("share").setAttribute("aria-label", parts.map(([, part, word]) => `${count(part)} ${word}`).join(", "));
}

// --- which items, in which order: kept in the address, so that a view can be linked

const DEFAULTS = { q: "", show: "all", kind: "", sort: "index" };
let view = { ...DEFAULTS, item: null };
let shown = [];

const ORDERS = ["index", "time", "units", "seed"];
const kindsOf = (item) => [...item.files.map((file) => file.kind), ...(item.text ? ["text"] : [])];

function readAddress() {
  const told = new URLSearchParams(location.hash.slice(1));
  const next = { item: told.has("item") ? Number(told.get("item")) : null };
  for (const name of Object.keys(DEFAULTS)) next[name] = told.get(name) ?? DEFAULTS[name];
  if (!["all", "ok", "failed"].includes(next.show)) next.show = "all";
  if (!ORDERS.includes(next.sort.replace(/^-/, ""))) next.sort = "index";
  if (![...$("kind").options].some((option) => option.value === next.kind)) next.kind = "";
  return next;
}

function writeAddress() {
  const told = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) if (view[name] !== usual) told.set(name, view[name]);
  if (view.item !== null) told.set("item", view.item);
  const hash = told.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

function wordsOf(item) {
  item.words ??= [item.prompt, item.text, item.seed, item.class, item.error, item.id, `#${item.index}`]
    .filter(Boolean).join("\n").toLowerCase();
  return item.words;
}

const integer = (text) => (/^-?\d+$/.test(text ?? "") ? BigInt(text) : null);
const VALUES = {
  index: (item) => item.index,
  time: (item) => item.time ?? null,
  units: (item) => (item.units === undefined ? null : Number(item.units)),
  seed: (item) => integer(item.seed),
};

function select() {
  const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const found = items.filter((item) =>
    (view.show === "all" || (view.show === "failed") === Boolean(item.class)) &&
    (!view.kind || kindsOf(item).includes(view.kind)) &&
    words.every((word) => wordsOf(item).includes(word)));
  const sign = view.sort.startsWith("-") ? -1 : 1;
  const value = VALUES[view.sort.replace(/^-/, "")];
  const keyed = found.map((item) => [value(item), item]);
  // What has no value comes last, whichever way; equal ones stay in the order of their inputs.
  keyed.sort(([a, one], [b, other]) => {
    if (a === null || b === null) return (a === null) - (b === null) || one.index - other.index;
    return a < b ? -sign : a > b ? sign : one.index - other.index;
  });
  shown = keyed.map(([, item]) => item);
}

// --- cards

const fileName = (src) => {
  const last = src.slice(src.lastIndexOf("/") + 1);
  try { return decodeURIComponent(last); } catch { return last; }
};

function link(file) {
  const href = file.src ?? file.url;
  if (href === undefined) return make("span", { text: "A file that was not saved" });
  const text = file.src ? fileName(file.src) : file.url;
  return make("a", { href, text, target: "_blank", rel: "noopener noreferrer", dir: "auto" });
}

function otherwise(file) {
  const why = file.src ? "" : file.why || "It was not saved.";
  return make("div", { className: "pane other" }, icon(PAPER), link(file), why && make("p", { text: why }));
}

function failure(item) {
  return make("div", { className: "pane bad" },
    make("b", { text: item.class }),
    make("p", { text: item.error, dir: "auto" }),
    make("span", { className: `bill ${billing(item)}`, text: COST[billing(item)] }));
}

const words = (text) => make("div", { className: "pane words", text, dir: "auto" });

function pane(item) {
  if (item.class) return failure(item);
  const file = item.files[0];
  if (!file) return item.text ? words(item.text) : make("div", { className: "pane other none", text: "No file" });
  if (!file.src) return otherwise(file);
  const whole = make("div", { className: `pane ${{ video: "film", audio: "sound" }[file.kind] ?? ""}`.trim() });
  if (file.kind === "image") whole.append(played(item, file, whole));
  else if (file.kind === "video" || file.kind === "audio") whole.append(...still(item, file, whole));
  else return otherwise(file);
  if (item.files.length > 1) whole.append(make("span", { className: "mark", text: `${item.files.length} files` }));
  return whole;
}

// A browser bears some dozens of players in a page, so there is none until it is asked for.
function still(item, file, whole) {
  const button = make("button", { type: "button", className: "play", "aria-label": `Play ${fileName(file.src)}` }, icon(PLAY));
  button.addEventListener("click", () => {
    const player = played(item, file, whole);
    button.replaceWith(player);
    player.focus();
    player.play().catch(() => {}); // an error of its own is shown
  });
  return [...(file.kind === "audio" ? [icon(SOUND)] : []), button];
}

function played(item, file, place) {
  const element = picture(item, file);
  element?.addEventListener("error", () => (place ?? element).replaceWith(otherwise(file)), { once: true });
  return element;
}

function picture(item, file) {
  if (file.kind === "image") return make("img", { src: file.src, alt: item.prompt ?? "", loading: "lazy", decoding: "async" });
  if (file.kind === "video") return make("video", { src: file.src, controls: true, preload: "none", playsinline: true });
  if (file.kind === "audio") return make("audio", { src: file.src, controls: true, preload: "none" });
  return null;
}

const prompt = (item) => item.prompt
  ? make("p", { className: "prompt", text: item.prompt, dir: "auto" })
  : make("p", { className: "prompt none", text: "No prompt" });

function card(item, place) {
  return make("article", { className: "card", tabindex: place === active ? 0 : -1, "data-place": place, "data-index": item.index, "aria-label": `Item ${item.index}` },
    pane(item),
    make("div", { className: "caption" },
      prompt(item),
      make("div", { className: "small" },
        item.seed !== undefined && make("span", { className: "seed", text: item.seed, title: `Seed ${item.seed}` }),
        make("span", { text: item.units === undefined ? "" : units(item.units) })),
      make("div", { className: "small" },
        make("span", { text: `#${item.index}` }),
        item.replayed && make("span", { text: "not called again" }),
        make("span", { text: item.time ? duration(item.time) : "" }))));
}

// --- blocks of rows: a hundred thousand items are some thousand empty boxes, of which a few are filled

let columns = 0;
let active = 0; // the place that Tab comes to

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? fill(target) : empty(target);
}, { rootMargin: "800px 0px" });

function fill(block) {
  if (block.firstChild) return;
  const first = Number(block.dataset.first);
  const last = Math.min(first + columns * ROWS, shown.length);
  for (let place = first; place < last; place += 1) block.append(card(shown[place], place));
}

function empty(block) {
  if (block.contains(document.activeElement)) return;
  if ([...block.querySelectorAll("video, audio")].some((player) => !player.paused)) return;
  block.replaceChildren();
}

function measure() {
  const style = getComputedStyle($("items"));
  const width = $("items").clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const gap = parseFloat(style.getPropertyValue("--gap"));
  const narrowest = Math.min(NARROWEST, (width - gap) / 2);
  const next = Math.max(1, Math.floor((width + gap) / (narrowest + gap) + 0.001));
  const side = (width - gap * (next - 1)) / next;
  $("items").style.setProperty("--row", `${side + parseFloat(style.getPropertyValue("--caption")) + gap}px`);
  $("items").style.setProperty("--columns", next);
  return next;
}

function layOut() {
  columns = measure();
  watcher.disconnect();
  const blocks = [];
  for (let first = 0; first < shown.length; first += columns * ROWS) {
    const block = make("div", { className: "block", "data-first": first });
    block.style.setProperty("--rows", Math.ceil(Math.min(columns * ROWS, shown.length - first) / columns));
    blocks.push(block);
  }
  $("items").replaceChildren(...blocks);
  if (blocks.length) fill(blocks[0]); // at once: the rest when it comes near the screen
  for (const block of blocks) watcher.observe(block);
}

function reach(place) {
  const block = $("items").children[Math.floor(place / (columns * ROWS))];
  fill(block);
  return block.children[place % (columns * ROWS)];
}

function activate(place) {
  active = Math.max(0, Math.min(place, shown.length - 1));
  for (const old of document.querySelectorAll(".card[tabindex='0']")) old.tabIndex = -1;
  const element = reach(active);
  element.tabIndex = 0;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}

function show() {
  select();
  active = 0;
  layOut();
  const all = shown.length === items.length;
  $("count").textContent = all ? `${count(items.length)} ${items.length === 1 ? "item" : "items"}` : `${count(shown.length)} of ${count(items.length)}`;
  $("nothing").hidden = shown.length > 0;
}

// --- one item, large

let open = null; // its place, and which of its files

function openAt(place, nth = 0) {
  const item = shown[place];
  if (!item) return;
  open = { place, nth: nth < 0 ? Math.max(0, item.files.length - 1) : nth };
  $("stage").replaceChildren(large(item, open.nth));
  $("facts").replaceChildren(...facts(item, open.nth));
  $("facts").scrollTop = 0;
  $("back").disabled = place === 0 && open.nth === 0;
  $("on").disabled = place === shown.length - 1 && open.nth >= item.files.length - 1;
  if (!$("box").open) $("box").showModal();
  view.item = item.index;
  writeAddress();
}

function large(item, nth) {
  const file = item.files[nth];
  if (item.class || !file || !file.src) return item.class || !file ? pane(item) : otherwise(file);
  const element = played(item, file);
  if (!element) return otherwise(file);
  element.removeAttribute("loading");
  if (element.preload) element.preload = "metadata"; // the one that is looked at
  return element;
}

function facts(item, nth) {
  const rows = [];
  const row = (name, value, className) => value !== undefined && value !== null && value !== "" &&
    rows.push(make("dt", { text: name }), typeof value === "string" ? make("dd", { text: value, className, dir: "auto" }) : make("dd", {}, ...value));
  row("Seed", item.seed, "whole");
  row("Time", item.time ? duration(item.time) : "");
  row("Cost", item.units === undefined ? "" : units(item.units));
  row("Billing", item.class ? COST[billing(item)] : "");
  row("Attempts", item.attempts === undefined ? "" : String(item.attempts));
  row("Request", item.id, "whole");
  row("Called", item.replayed ? "not now: from the journal, or for an equal input" : "");
  if (item.files.length) row(item.files.length > 1 ? "Files" : "File", item.files.map((file) => make("p", {}, link(file), file.why && ` ${file.why}`)));
  const which = item.files.length > 1 ? ` · file ${nth + 1} of ${item.files.length}` : "";
  return [
    make("h2", { text: `#${item.index}${which} · ${count(open.place + 1)} of ${count(shown.length)} shown` }),
    prompt(item),
    item.text && item.files.length ? make("p", { className: "prompt", text: item.text, dir: "auto" }) : "",
    make("dl", {}, ...rows),
  ];
}

function turn(step) {
  const nth = open.nth + step;
  const files = shown[open.place].files.length;
  if (nth >= 0 && nth < files) openAt(open.place, nth);
  else if (shown[open.place + step]) openAt(open.place + step, step < 0 ? -1 : 0);
}

function closed() {
  if (!open || $("box").open) return; // opened again before word of its closing came
  const place = open.place;
  open = null;
  $("stage").replaceChildren(); // whatever plays there ends
  view.item = null;
  writeAddress();
  activate(place);
}

// --- hands

function change() {
  const form = $("bar");
  view = { q: $("q").value.trim(), show: form.elements.show.value, kind: $("kind").value, sort: $("sort").value, item: null };
  writeAddress();
  scrollTo(0, Math.min(scrollY, $("bar").offsetTop));
  show();
}

function follow() {
  view = readAddress();
  $("q").value = view.q;
  $("bar").elements.show.value = view.show;
  $("kind").value = view.kind;
  $("sort").value = view.sort;
  show();
  if (view.item === null) return $("box").open ? $("box").close() : undefined;
  const place = shown.findIndex((item) => item.index === view.item);
  if (place >= 0) openAt(place);
}

const isPlayer = (target) => target.closest?.("video, audio, a, button, input, select");
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns, ArrowDown: () => columns };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  if (open) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!step || target.closest("video, audio")) return;
    event.preventDefault();
    turn(step);
  } else if (key === "/" && !target.closest("input:not([type=radio])")) {
    event.preventDefault();
    $("q").select();
  } else if (key === "ArrowDown" && target === $("q") && shown.length) {
    event.preventDefault();
    activate(0);
  } else if (target.classList.contains("card")) {
    onCard(event, key, Number(target.dataset.place));
  }
});

function onCard(event, key, place) {
  if (key === "Enter" || key === " ") openAt(place);
  else if (key === "Home") activate(0);
  else if (key === "End") activate(shown.length - 1);
  else if (STEPS[key]) activate(place + STEPS[key]());
  else return;
  event.preventDefault();
}

$("items").addEventListener("click", (event) => {
  const element = event.target.closest(".card");
  if (element && !isPlayer(event.target)) openAt(Number(element.dataset.place));
});
document.addEventListener("play", ({ target }) => { // one at a time
  for (const player of document.querySelectorAll("video, audio")) if (player !== target) player.pause();
}, true);

let waiting = 0;
$("q").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(change, 90); });
for (const id of ["show", "kind", "sort"]) $(id).addEventListener("change", change);
$("bar").addEventListener("submit", (event) => { event.preventDefault(); change(); });
$("reset").addEventListener("click", () => { history.replaceState(null, "", location.pathname + location.search); follow(); });
$("back").addEventListener("click", () => turn(-1));
$("on").addEventListener("click", () => turn(1));
$("close").addEventListener("click", () => $("box").close());
$("box").addEventListener("close", closed);
addEventListener("hashchange", follow);

let touched = null;
$("stage").addEventListener("touchstart", ({ touches }) => { touched = touches.length === 1 ? touches[0].clientX : null; }, { passive: true });
$("stage").addEventListener("touchend", ({ changedTouches }) => {
  const moved = touched === null ? 0 : changedTouches[0].clientX - touched;
  if (Math.abs(moved) > 50) turn(moved < 0 ? 1 : -1);
});

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // a phone's address bar comes and goes
  width = innerWidth;
  const top = [...$("items").children].find((block) => block.getBoundingClientRect().bottom > 0);
  const place = top ? Number(top.dataset.first) : 0;
  layOut();
  if (place) reach(Math.min(place, shown.length - 1)).scrollIntoView({ block: "start" });
});

for (const item of items) item.files ??= [];
const present = new Set(items.flatMap(kindsOf));
const NAMES = { image: "Images", video: "Videos", audio: "Audio", file: "Other files", text: "Text" };
for (const [value, text] of Object.entries(NAMES)) if (present.has(value)) $("kind").append(make("option", { value, text }));
$("kind").hidden = present.size < 2;
showNumbers();
follow();
document.documentElement.dataset.shown = Math.round(performance.now());
