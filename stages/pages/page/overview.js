// The state of the page, and the sections that are filled from the overview: training, scores, provenance.

const live = document.documentElement.dataset.mode === "live";
const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);

let overview = read("overview-data"), gallery = read("items-data");
const order = { key: null, down: true }; // how the gallery is sorted
let shown = []; // the items of the gallery as they stand there
let opened = null; // the item in the viewer

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

function duration(seconds) {
  const [size, unit] = [[3600, "h"], [60, "min"], [1, "s"]].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${short(seconds / size)} ${unit}`;
}

function fillTraining(runs) {
  byId("runs").replaceChildren(
    ...runs.map(({ run, colour }) => {
      const took = run.seconds === null ? "" : ` · ${duration(run.seconds)}`;
      const state = run.step === null ? "weights only" : `step ${run.step} of ${run.steps ?? "?"}${took}`;
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
