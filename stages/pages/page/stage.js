// The stage of the viewer: one item's depth grid as a mesh, turned with the pointer, lit as the method has it.
// Frame: x right, y up, z towards the viewer, metres, the method's rotation centre at the origin.

const TRIM = 3; // outer rows and columns without a surface: two are clamped to the border depth, one feels them
const STEEP = Math.cos((80 * Math.PI) / 180); // steeper near the rim is a curtain hanging into the background
const FIELD = 13; // degrees: frames what the method's camera saw, with room to turn

const VERTEX = `
  varying vec3 outward;
  varying vec2 place;
  void main() {
    outward = normal;
    place = uv;
    gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  }`;
// albedo × (ambient + diffuse · max(0, n·l)), in code values as the method has it; the light turns with the surface.
const FRAGMENT = `
  uniform sampler2D albedo;
  uniform vec3 light;
  uniform float ambient, diffuse, plain;
  varying vec3 outward;
  varying vec2 place;
  void main() {
    vec3 colour = mix(texture2D(albedo, place).rgb, vec3(0.8), plain);
    float shading = ambient + diffuse * max(0.0, dot(normalize(outward), light));
    gl_FragColor = gl_FrontFacing ? vec4(colour * shading, 1.0) : vec4(0.3, 0.3, 0.33, 1.0);
  }`;

// -- from the depth grid to triangles --------------------------------------------------------------------------------

/** Depth in metres, row by row, NaN where there is none. */
function decodeGrid(item) {
  const bytes = Uint8Array.from(atob(item.grid), (letter) => letter.charCodeAt(0));
  const codes = new DataView(bytes.buffer);
  const [near, far] = item.range;
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const code = codes.getUint16(2 * i, true);
    return code ? near + ((code - 1) / 65534) * (far - near) : NaN;
  });
}

function buildGeometry(item, fov) {
  const [rows, columns] = item.size;
  const depth = decodeGrid(item);
  const focal = (columns - 1) / (2 * Math.tan((fov * Math.PI) / 360));
  const position = new Float32Array(3 * depth.length), uv = new Float32Array(2 * depth.length);
  depth.forEach((d, i) => {
    const u = i % columns, v = Math.floor(i / columns);
    position.set([((u - (columns - 1) / 2) / focal) * d, (((rows - 1) / 2 - v) / focal) * d, 1 - d], 3 * i);
    uv.set([(u + 0.5) / columns, 1 - (v + 0.5) / rows], 2 * i);
  });
  const corner = (row, column) => row * columns + column;
  const cells = new Map(); // of two triangles each, by the upper left corner
  for (let row = TRIM; row < rows - 1 - TRIM; row++) {
    for (let column = TRIM; column < columns - 1 - TRIM; column++) {
      const a = corner(row, column), b = a + 1, c = a + columns, d = c + 1;
      if ([a, b, c, d].every((i) => !Number.isNaN(depth[i]))) cells.set(a, [a, c, b, b, c, d]);
    }
  }
  const surface = withoutCurtains(cells, position, rows, columns);
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(position.map((x) => x || 0), 3));
  geometry.setAttribute("uv", new THREE.BufferAttribute(uv, 2));
  geometry.setIndex([...surface].flatMap((cell) => cells.get(cell)));
  geometry.computeVertexNormals();
  return geometry;
}

/**
 * The largest connected piece of the surface, less runs of steep cells that reach the outer eighth of the grid; all of
 * it when that would take more than half: then the shape is rough all over.
 */
function withoutCurtains(cells, position, rows, columns) {
  const outer = (cell) => {
    const u = cell % columns, v = Math.floor(cell / columns);
    return Math.min(u, columns - 1 - u) < columns / 8 || Math.min(v, rows - 1 - v) < rows / 8;
  };
  const steep = new Set([...cells.keys()].filter((cell) => isSteep(cells.get(cell), position)));
  const curtains = spread([...steep].filter(outer), steep, columns);
  const left = new Set([...cells.keys()].filter((cell) => !curtains.has(cell)));
  let largest = new Set();
  for (const waiting = new Set(left); waiting.size; ) {
    const piece = spread([waiting.values().next().value], left, columns);
    piece.forEach((cell) => waiting.delete(cell));
    if (piece.size > largest.size) largest = piece;
  }
  return 2 * largest.size > cells.size ? largest : new Set(cells.keys());
}

/** These cells and all that are connected with them within ``allowed``. */
function spread(start, allowed, columns) {
  const found = new Set(start), waiting = [...start];
  while (waiting.length) {
    const cell = waiting.pop();
    for (const next of [cell - 1, cell + 1, cell - columns, cell + columns]) {
      if (allowed.has(next) && !found.has(next)) {
        found.add(next);
        waiting.push(next);
      }
    }
  }
  return found;
}

/** Whether one of a cell's two triangles is seen nearly edge-on by the method's camera, 1 m before the origin. */
function isSteep(corners, position) {
  const minus = (p, q) => [p[0] - q[0], p[1] - q[1], p[2] - q[2]];
  const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
  const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
  const [a, b, c, , , d] = corners.map((i) => position.subarray(3 * i, 3 * i + 3));
  return [[a, b, c], [c, b, d]].some(([p, q, r]) => {
    const normal = cross(minus(q, p), minus(r, p)), sight = minus(p, [0, 0, 1]);
    return Math.abs(dot(normal, sight)) < STEEP * Math.sqrt(dot(normal, normal) * dot(sight, sight));
  });
}

// -- rotations, 3×3 by rows ------------------------------------------------------------------------------------------

const STRAIGHT = [1, 0, 0, 0, 1, 0, 0, 0, 1];

function times(a, b) {
  return a.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + a[3 * Math.floor(i / 3) + k] * b[3 * k + (i % 3)], 0));
}

function about(axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle);
  if (axis === "x") return [1, 0, 0, 0, c, -s, 0, s, c];
  if (axis === "y") return [c, 0, s, 0, 1, 0, -s, 0, c];
  return [c, -s, 0, s, c, 0, 0, 0, 1];
}

/** A viewpoint of the method, R_z R_y R_x with y down and z forward, in the frame of the mesh: half a turn about x. */
function viewTurn([pitch, yaw, roll]) {
  return times(about("z", -roll), times(about("y", -yaw), about("x", pitch)));
}

// -- the stage -------------------------------------------------------------------------------------------------------

/** One WebGL context for all items. Without WebGL, show() throws. */
class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.light = [0, 0, 1]; // towards the light, unit length
    this.reset();
  }

  reset() {
    this.turn = STRAIGHT;
    this.shift = [0, 0, 0];
    this.zoom = 1;
  }

  start() {
    this.renderer = new THREE.WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
    this.camera = new THREE.PerspectiveCamera(FIELD, 1, 0.3, 3);
    this.camera.position.z = 1;
    const uniforms = { albedo: { value: null }, light: { value: null }, ambient: { value: 0 }, diffuse: { value: 1 }, plain: { value: 0 } };
    this.material = new THREE.ShaderMaterial({ uniforms, vertexShader: VERTEX, fragmentShader: FRAGMENT, side: THREE.DoubleSide });
    this.mesh = new THREE.Mesh(new THREE.BufferGeometry(), this.material);
    this.mesh.matrixAutoUpdate = this.mesh.frustumCulled = false;
    this.scene = new THREE.Scene();
    this.scene.add(this.mesh);
  }

  /** albedo: a canvas with the texture. */
  show(item, fov, albedo) {
    if (!this.renderer) this.start();
    this.mesh.geometry.dispose();
    this.mesh.geometry = buildGeometry(item, fov);
    this.material.uniforms.albedo.value?.dispose();
    this.material.uniforms.albedo.value = new THREE.CanvasTexture(albedo);
  }

  render() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.renderer || !width || !height) return;
    this.renderer.setPixelRatio(devicePixelRatio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.fov = (FIELD / this.zoom) * Math.max(1, height / width);
    this.camera.updateProjectionMatrix();
    const [a, b, c, d, e, f, g, h, i] = this.turn, [x, y, z] = this.shift;
    this.mesh.matrix.set(a, b, c, x, d, e, f, y, g, h, i, z, 0, 0, 0, 1);
    this.mesh.matrixWorldNeedsUpdate = true;
    this.material.uniforms.light.value = { x: this.light[0], y: this.light[1], z: this.light[2] };
    this.renderer.render(this.scene, this.camera);
  }

  /** Radians to the right and down, as seen. */
  rotate(right, down) {
    this.turn = times(times(about("x", down), about("y", right)), this.turn);
  }

  asInPhoto([pitch, yaw, roll, x, y, z]) {
    this.turn = viewTurn([pitch, yaw, roll]);
    this.shift = [x, -y, -z];
  }

  /** x right, y up, within the unit circle; beyond it the light comes from the very side. */
  lightFrom(x, y) {
    const length = Math.hypot(x, y), scale = length > 1 ? 1 / length : 1;
    this.light = [x * scale, y * scale, Math.sqrt(Math.max(0, 1 - (length * scale) ** 2))];
  }
}
