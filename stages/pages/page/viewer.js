// The dialog that shows one item: its stage, pictures and figures, and what pointer and keys do there.

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
