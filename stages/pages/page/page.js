// The page: fills its sections from the two documents, opens items in the viewer, and follows a server when there is one.

const live = document.documentElement.dataset.mode === "live";
const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);

let overview = read("overview-data"), gallery = read("items-data");
const order = { key: null, down: true }; // how the gallery is sorted
let shown = []; // the items of the gallery as they stand there
let opened = null; // the item in the viewer

// -- overview --------------------------------------------------------------------------------------------------------

function fillOverview() {
  document.title = `${overview.title} · sym3d`;
  byId("title").textContent = overview.title;
  byId("made").textContent = overview.made;
  fillTraining(overview.runs.map((run, i) => ({ run, colour: series(i) })));
  byId("histograms").replaceChildren(
    ...overview.scores.map(({ name, histograms }) =>
      make("div", null, make("h3", null, name), make("div", { class: "charts" }, ...histograms.map(histogramChart)))
    )
  );
  byId("chain").replaceChildren(...overview.origin.map(originLine));
  byId("training").hidden = !overview.runs.length;
  byId("scores").hidden = !overview.scores.length;
  byId("origin").hidden = !overview.origin.length;
  fillContents();
}

function fillTraining(runs) {
  byId("runs").replaceChildren(
    ...runs.map(({ run, colour }) => {
      const hours = run.seconds === null ? "" : ` · ${short(run.seconds / 3600)} h`;
      const state = run.step === null ? "weights only" : `step ${run.step} of ${run.steps ?? "?"}${hours}`;
      const recipe = make("details", null, make("summary", null, "Recipe"), make("pre", null, run.recipe));
      return make("div", null, make("h3", null, key(colour), run.name), make("p", null, state), ...(run.recipe ? [recipe] : []));
    })
  );
  const labels = new Set(runs.flatMap(({ run }) => Object.keys(run.log)));
  ["step", "seconds"].forEach((label) => labels.delete(label));
  byId("curves").replaceChildren(
    ...[...labels].sort().map((label) => curveChart(label, runs.filter(({ run }) => run.log[label])))
  );
  byId("sheets").replaceChildren(...runs.filter(({ run }) => run.sheets.length).map(({ run }) => sampleSheets(run)));
}

/** The sheets that training drew, with a slider over the steps. */
function sampleSheets({ name, sheets }) {
  const picture = make("img"), label = make("span");
  const last = sheets.length - 1;
  const slider = make("input", { type: "range", min: 0, max: last, value: last, "aria-label": "Step of the sample sheet" });
  const show = () => {
    const sheet = sheets[slider.value];
    picture.src = sheet.picture;
    picture.alt = label.textContent = `${name}: validation images at step ${sheet.step}`;
  };
  slider.addEventListener("input", show);
  show();
  return make("div", { class: "sheet" }, make("h3", null, label), ...(last ? [slider] : []), picture);
}

function originLine({ depth, name, schema, digest, created, revision, command }) {
  const about = [schema, digest.slice(0, 12), created, revision, command].filter(Boolean).join(" · ");
  const line = make("p", null, make("b", null, name), " ", make("span", { class: "quiet" }, about));
  line.style.marginLeft = `${1.4 * Math.min(depth, 20)}rem`;
  return line;
}

function fillContents() {
  const sections = [...document.querySelectorAll("main > section:not([hidden])")];
  byId("contents").replaceChildren(
    ...sections.map((section) => make("a", { href: `#${section.id}` }, section.querySelector("h2").textContent))
  );
}

// -- pictures of an item ---------------------------------------------------------------------------------------------

const near = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => load(target)),
  { rootMargin: "800px" }
);

/** A strip of pictures is only decoded when it comes near the window. */
function strip(item) {
  const picture = make("img", { class: "strip", alt: `${gallery.pictures.join(", ")} of ${item.name}` });
  picture.item = item;
  picture.style.aspectRatio = `${gallery.pictures.length} / 1`; // its place is kept before it is there
  near.observe(picture);
  return picture;
}

function load(picture) {
  near.unobserve(picture);
  picture.src = picture.item.strip;
}

/** One picture out of the strip. */
function tile(item, index) {
  const picture = strip(item);
  picture.className = "";
  picture.alt = `${gallery.pictures[index]} of ${item.name}`;
  picture.style.marginLeft = `${-100 * index}%`;
  return make("span", { class: "tile" }, picture);
}

function card(item, text) {
  const pictures = item.strip ? [tile(item, 0), tile(item, gallery.pictures.indexOf("normals"))] : [];
  const label = make("span", null, text ? `${text} · ${item.name}` : item.name);
  return make("button", { type: "button", class: "card", title: item.name, onclick: () => openItem(item) }, ...pictures, label);
}

// -- gallery ---------------------------------------------------------------------------------------------------------

const columnOf = (name) => gallery.columns.findIndex((column) => column.key === name);
const format = (value, { digits }) => (value === null ? "–" : value.toFixed(digits));

function fillGallery() {
  const any = gallery.items.length > 0;
  for (const id of ["gallery", "extremes", "causes"]) byId(id).hidden = !any;
  if (any) {
    fillExtremes();
    fillCauses();
    fillTable();
  }
  fillContents();
}

function fillExtremes() {
  const index = Math.max(0, columnOf(columnOf("side") < 0 ? "misfit" : "side"));
  const column = gallery.columns[index];
  const judged = gallery.items.filter((item) => (item.figures[index] ?? null) !== null);
  judged.sort((a, b) => b.figures[index] - a.figures[index]);
  const cards = (items) => items.map((item) => card(item, `${format(item.figures[index], column)} ${column.unit}`));
  const each = Math.min(8, Math.ceil(judged.length / 2));
  byId("extremes").hidden = judged.length < 2;
  if (judged.length < 2) return;
  byId("ranking").textContent = `By ${column.label}: ${column.doc}.`;
  byId("worst").replaceChildren(...cards(judged.slice(0, each)));
  byId("best").replaceChildren(...cards(judged.slice(judged.length - each).reverse()));
}

function fillCauses() {
  const found = gallery.causes.filter((cause) => cause.count);
  byId("cause-filter").replaceChildren(
    make("option", { value: "" }, "any"),
    ...found.map((cause) => make("option", { value: gallery.causes.indexOf(cause) }, `${cause.label} (${cause.items.length})`))
  );
  byId("cause-list").replaceChildren(...gallery.causes.map(causeLine));
}

function causeLine(cause) {
  const means = cause.side?.[0] != null ? ` · SIDE ${short(cause.side[0])}, others ${short(cause.side[1])}` : "";
  const line = make(
    "details",
    null,
    make("summary", null, make("b", null, cause.label), `${cause.count} of ${gallery.total}${means} `, make("span", { class: "quiet" }, cause.rule))
  );
  const show = () => {
    byId("cause-filter").value = gallery.causes.indexOf(cause);
    arrange();
    byId("gallery").scrollIntoView();
  };
  const fill = () => {
    if (!cause.items.length || line.childElementCount > 1) return;
    const all = make("button", { type: "button", class: "only-screen", onclick: show }, "Show all in the gallery");
    line.append(make("div", { class: "cards" }, ...cause.items.slice(0, 12).map((index) => card(gallery.items[index]))), all);
  };
  line.addEventListener("toggle", fill);
  line.fill = fill;
  return line;
}

function fillTable() {
  const head = make("tr", null, sortable("name", "name", ""));
  if (gallery.pictures.length) {
    const titles = gallery.pictures.map((title) => make("span", null, title));
    head.append(make("th", { scope: "col" }, make("div", { class: "titles" }, ...titles)));
  }
  const columns = gallery.columns.filter((column) => column.column);
  for (const { key, label, unit, doc } of columns) head.append(sortable(key, `${label} ${unit}`.trim(), doc));
  byId("items").tHead.replaceChildren(head);
  for (const item of gallery.items) {
    const name = make("button", { type: "button", title: item.name, onclick: () => openItem(item) }, item.name);
    item.line = make("tr", null, make("td", { class: "name" }, name));
    if (gallery.pictures.length) {
      const picture = strip(item);
      picture.addEventListener("click", () => openItem(item));
      item.line.append(make("td", { class: "strip-cell" }, picture));
    }
    const cells = columns.map((column) => make("td", null, format(item.figures[columnOf(column.key)], column)));
    item.line.append(...cells);
  }
  arrange();
}

function sortable(key, label, doc) {
  const sort = () => {
    order.down = order.key === key ? !order.down : key !== "name";
    order.key = key;
    arrange();
  };
  return make("th", { scope: "col", "data-key": key, title: doc }, make("button", { type: "button", onclick: sort }, label));
}

/** Filters and sorts the rows; items without the figure come last either way. */
function arrange() {
  const words = byId("name-filter").value.toLowerCase(), cause = gallery.causes[byId("cause-filter").value];
  const among = cause ? cause.items.map((index) => gallery.items[index]) : gallery.items;
  shown = among.filter((item) => item.name.toLowerCase().includes(words));
  const index = columnOf(order.key), sign = order.down ? -1 : 1;
  if (order.key === "name") {
    const collator = new Intl.Collator(undefined, { numeric: true });
    shown.sort((a, b) => sign * collator.compare(a.name, b.name));
  } else if (index >= 0) {
    const missing = (item) => item.figures[index] === null;
    shown.sort((a, b) => missing(a) - missing(b) || sign * (a.figures[index] - b.figures[index]));
  }
  byId("items").tBodies[0].replaceChildren(...shown.map((item) => item.line));
  for (const cell of document.querySelectorAll("#items th[data-key]")) {
    const sorted = cell.dataset.key === order.key;
    if (sorted) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  const rest = gallery.total > gallery.items.length ? `, of ${gallery.total} images in the file` : "";
  byId("shown").textContent = `${shown.length} of ${gallery.items.length} items${rest}`;
}

byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("name-filter").addEventListener("input", arrange);
byId("cause-filter").addEventListener("input", arrange);

addEventListener("beforeprint", () => {
  for (const line of document.querySelectorAll("#cause-list details")) line.fill();
  document.querySelectorAll("#cause-list details").forEach((line) => (line.open = true));
  for (const picture of document.querySelectorAll("img:not([src])")) if (picture.item) load(picture);
});

// -- viewer ----------------------------------------------------------------------------------------------------------

const stage = new Stage(byId("surface"));
const canvas = byId("surface"), ball = byId("ball"), viewer = byId("viewer");

async function openItem(item) {
  opened = item;
  byId("viewer-name").textContent = item.name;
  byId("viewer-figures").replaceChildren(
    ...gallery.columns.flatMap((column, i) => [
      make("dt", { title: column.doc }, column.label),
      make("dd", null, `${format(item.figures[i], column)} ${column.unit}`),
    ])
  );
  const pictures = item.strip ? gallery.pictures : [];
  byId("viewer-pictures").replaceChildren(
    ...pictures.map((title, i) => make("figure", null, tile(item, i), make("figcaption", null, title)))
  );
  if (!viewer.open) viewer.showModal();
  canvas.focus();
  const fault = item.grid ? await stageItem(item) : "There is no surface to show.";
  if (opened !== item) return; // another one was opened while this one's texture was being decoded
  byId("no-surface").textContent = fault;
  byId("no-surface").hidden = !fault;
  canvas.hidden = Boolean(fault);
  paint();
}

/** Puts the item on the stage; returns why that cannot be, if so. */
async function stageItem(item) {
  const picture = make("img", { src: item.strip });
  await picture.decode();
  if (opened !== item) return "";
  const side = picture.naturalHeight, albedo = make("canvas", { width: side, height: side });
  albedo.getContext("2d").drawImage(picture, -side * gallery.pictures.indexOf("albedo"), 0);
  try {
    stage.show(item, gallery.fov, albedo);
  } catch (error) {
    return `This browser cannot draw in 3D (${error.message}).`;
  }
  stage.reset();
  relight();
  return "";
}

/** The light that was predicted: the method's points away from the camera, y down. */
function relight() {
  const [ambient, diffuse, x, y] = opened.light;
  byId("ambient").value = ambient;
  byId("diffuse").value = diffuse;
  stage.lightFrom(-x, y);
}

function paint() {
  if (!opened?.grid) return;
  const { uniforms } = stage.material ?? {};
  if (!uniforms) return;
  uniforms.ambient.value = Number(byId("ambient").value);
  uniforms.diffuse.value = Number(byId("diffuse").value);
  uniforms.plain.value = byId("plain").checked ? 1 : 0;
  stage.render();
  const [x, y] = stage.light;
  byId("spot").setAttribute("cx", x);
  byId("spot").setAttribute("cy", -y);
  const across = Math.abs(x) < 0.1 ? "" : x < 0 ? "left" : "right", up = Math.abs(y) < 0.1 ? "" : y < 0 ? "below" : "above";
  const from = [up, across].filter(Boolean).join(" ") || "the front";
  ball.setAttribute("aria-label", `Light from ${from}; arrow keys or dragging move it`);
  canvas.setAttribute("aria-label", `Surface of ${opened.name}, light from ${from}; arrow keys turn it, L and arrow keys move the light`);
}

function step(offset) {
  const at = shown.indexOf(opened);
  const next = shown[(at + offset + shown.length) % shown.length];
  if (next) openItem(next);
}

const moveLight = (dx, dy) => stage.lightFrom(stage.light[0] + dx, stage.light[1] + dy);

/** Calls move(event, dx, dy) in pixels while a button is down. */
function drags(element, move) {
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    element.last = [event.clientX, event.clientY];
    move(event, 0, 0);
  });
  element.addEventListener("pointermove", (event) => {
    if (!element.hasPointerCapture(event.pointerId)) return;
    move(event, event.clientX - element.last[0], event.clientY - element.last[1]);
    element.last = [event.clientX, event.clientY];
    paint();
  });
}

drags(canvas, (event, dx, dy) => (event.shiftKey ? moveLight(dx / 150, -dy / 150) : stage.rotate(dx / 150, dy / 150)));
drags(ball, (event) => {
  const box = ball.getBoundingClientRect(), radius = box.width / 2.2;
  stage.lightFrom((event.clientX - box.left - box.width / 2) / radius, -(event.clientY - box.top - box.height / 2) / radius);
  paint();
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 500));
}, { passive: false });

function zoom(factor) {
  stage.zoom = Math.max(0.5, Math.min(6, stage.zoom * factor));
  paint();
}

const actions = {
  front: () => stage.reset(),
  photo: () => stage.asInPhoto(opened.view),
  relight,
  plain: () => {},
  ambient: () => {},
  diffuse: () => {},
};
for (const [id, action] of Object.entries(actions)) {
  byId(id).addEventListener(byId(id).tagName === "BUTTON" ? "click" : "input", () => {
    if (opened?.grid) action();
    paint();
  });
}
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => viewer.close());

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  n: () => step(1),
  p: () => step(-1),
  f: () => byId("front").click(),
  v: () => byId("photo").click(),
  r: () => byId("relight").click(),
  t: () => byId("plain").click(),
  "+": () => zoom(1.15),
  "-": () => zoom(1 / 1.15),
};
let lightKey = false;
viewer.addEventListener("keyup", (event) => (lightKey = event.key.toLowerCase() === "l" ? false : lightKey));
viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "l") lightKey = true;
  else if (KEYS[key]) KEYS[key]();
  else if (ARROWS[event.key] && event.target.type !== "range") {
    const [right, down] = ARROWS[event.key];
    if (lightKey || event.target === ball) moveLight(right / 12, -down / 12);
    else stage.rotate(right / 12, down / 12);
    paint();
    event.preventDefault();
  }
});
viewer.addEventListener("close", () => {
  opened = null;
  lightKey = false;
  text = ""; // what came while it was open is shown now
});
new ResizeObserver(paint).observe(canvas);

// -- following a server ----------------------------------------------------------------------------------------------

const POLL = 2000; // milliseconds
let text = "", itemsNumber = null;

async function follow() {
  let answer;
  try {
    answer = await (await fetch("overview.json")).text();
  } catch {
    text = "";
    byId("status").textContent = "The server has stopped.";
    return;
  }
  if (answer === text) return;
  const fresh = JSON.parse(answer);
  byId("status").textContent = fresh.fault ? `Cannot be read at the moment: ${fresh.fault}` : "Follows the files.";
  if (!fresh.fault) await update(fresh);
  text = answer;
}

async function update(fresh) {
  overview = fresh;
  fillOverview();
  if (overview.items !== itemsNumber && !viewer.open) {
    gallery = await (await fetch("items.json")).json();
    itemsNumber = overview.items;
    fillGallery();
  }
}

const keepFollowing = () => follow().finally(() => setTimeout(keepFollowing, POLL));

if (live) keepFollowing();
else {
  fillOverview();
  fillGallery();
}
