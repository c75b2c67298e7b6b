// What is filled from the items: best and worst, causes, and the table that sorts.

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
const format = (value, { digits }) => (value === null ? "–" : value.toFixed(digits).replace(/^-(?=[0.]+$)/, ""));

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

let shut = []; // what is opened for printing only
addEventListener("afterprint", () => shut.forEach((line) => (line.open = false)));
addEventListener("beforeprint", () => {
  shut = [...document.querySelectorAll("#cause-list details:not([open])")];
  shut.forEach((line) => (line.fill(), (line.open = true)));
  for (const picture of document.querySelectorAll("img:not([src])")) if (picture.item) load(picture);
});
