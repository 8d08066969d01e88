// What the page shows, as one value; a reducer that changes it; and the link that says it.

const DOORS = ["home", "learn", "explore", "fix", "port"];
const STEPS = 8;
const NUMBERS = ["n", "k", "s", "p", "op", "d"];
const CHANNELS = ["g", "ci", "co"];
const PLAIN = { n: 2, k: 3, s: 2, p: 1, op: 1, d: 1, g: 1, ci: 1, co: 1 };
const FIX_LAYER = { n: 16, k: 3, s: 2, p: 1, op: 0, d: 1 };
const VIEWS = ["a", "b", "c", "d"];
const KINDS = { i: "input", t: "tap", o: "output" };
const LANGUAGES = ["en", "ko"];
const VALUE = 9;
// Beyond this a box is refused: nothing could be drawn.
const LARGEST = 4096;

function plainLayer(values = PLAIN) {
  const layer = { crops: null, x: null, w: null };
  for (const name of NUMBERS) layer[name] = [values[name], values[name]];
  for (const name of CHANNELS) layer[name] = values[name] ?? PLAIN[name];
  return layer;
}

// The numbers that a link may leave out: fixing a size begins at the question that is asked most.
function plainOf(door) {
  return door === "fix" ? { ...PLAIN, ...FIX_LAYER } : PLAIN;
}

function initialState(lang = "en") {
  return {
    door: "home", step: 1, lang, square: true, layer: plainLayer(), view: "a", along: "columns", sel: null,
    want: null, keep: [], notices: [],
  };
}

// The size that is asked for: until one is given, twice the input's.
function wantedOf(state, layer) {
  return state.want ?? layer.n.map((n) => 2 * n);
}

// One axis of a layer as a plain setting, with `crops` where they stand in place of padding.
function settingAt(layer, axis) {
  const setting = Object.fromEntries(NUMBERS.map((name) => [name, layer[name][axis]]));
  return { ...setting, crops: layer.crops && layer.crops[axis] };
}

function axisAt(layer, axis) {
  const { n, crops, ...setting } = settingAt(layer, axis);
  return crops ? makeAxis(n, setting.k, setting.s, setting.d, ...crops) : torchAxis(n, setting);
}

// Everything that makes the layer impossible: [{axis, ...refusal}], first the height's, then the width's, then channels.
function refusalsAt(layer) {
  const found = [0, 1].flatMap((axis) => {
    const { n, ...setting } = settingAt(layer, axis);
    const large = NUMBERS.find((name) => Math.abs(layer[name][axis]) > LARGEST);
    if (large) return [{ why: "too_large", name: large, value: layer[large][axis], most: LARGEST, axis }];
    return refusalsOf(n, setting).map((refusal) => ({ ...refusal, axis }));
  });
  const large = CHANNELS.find((name) => layer[name] > LARGEST);
  if (large) return [...found, { why: "too_large", name: large, value: layer[large], most: LARGEST, axis: null }];
  const channels = channelRefusal(layer.ci, layer.co, layer.g);
  return channels ? [...found, { ...channels, axis: null }] : found;
}

// The nearest layer that can be: the first remedy for each refusal, one after another.
function mended(layer) {
  let next = layer;
  for (let tries = 0; tries < 20; tries++) {
    const [refusal] = refusalsAt(next);
    if (!refusal) return next;
    const { n, ...setting } = settingAt(next, refusal.axis ?? 0);
    next = patched(next, fixesOf(n, setting, refusal)[0], refusal.axis);
  }
  return plainLayer();
}

// A layer with some numbers changed: a number for both axes or, with `axis`, for one.
function patched(layer, patch, axis = null) {
  const next = { ...layer };
  for (const [name, value] of Object.entries(patch)) {
    if (CHANNELS.includes(name)) next[name] = value;
    else if (name === "crops" && (value === null || Array.isArray(value[0]))) next.crops = value;
    else {
      const before = next[name] ?? [[layer.p[0], layer.p[0] - layer.op[0]], [layer.p[1], layer.p[1] - layer.op[1]]];
      next[name] = axis === null ? [value, value] : before.map((old, at) => (at === axis ? value : old));
    }
  }
  return next;
}

// A typed number of the input (`x`) or the kernel (`w`), kept beside the pattern.
function typed(layer, name, row, column, value) {
  const map = (layer[name] ?? []).map((values) => [...(values ?? [])]);
  while (map.length <= row) map.push([]);
  map[row][column] = clamp(value, -VALUE, VALUE);
  return { ...layer, [name]: map };
}

function reduce(state, action) {
  switch (action.type) {
    case "door": {
      const layer = action.door === "fix" && state.door === "home" ? plainLayer(plainOf("fix")) : state.layer;
      return { ...state, door: action.door, step: action.step ?? state.step, layer, sel: null, notices: [] };
    }
    case "set":
      return { ...state, layer: patched(state.layer, action.patch, action.axis ?? null), sel: state.sel?.pinned ? state.sel : null };
    case "load":
      return { ...state, layer: { ...plainLayer(), ...action.layer }, square: isSquare({ ...plainLayer(), ...action.layer }), sel: null };
    case "value":
      return { ...state, layer: typed(state.layer, action.name, action.row, action.column, action.value) };
    case "square": {
      const layer = { ...state.layer };
      if (action.square) for (const name of NUMBERS) layer[name] = [layer[name][0], layer[name][0]];
      if (action.square && layer.crops) layer.crops = [layer.crops[0], layer.crops[0]];
      return { ...state, square: action.square, layer };
    }
    case "select":
      return { ...state, sel: action.sel };
    default:
      return { ...state, ...action.patch };
  }
}

function isSquare(layer) {
  const alike = NUMBERS.every((name) => layer[name][0] === layer[name][1]);
  return alike && (!layer.crops || String(layer.crops[0]) === String(layer.crops[1]));
}

function pairText([a, b]) {
  return a === b ? String(a) : `${a}x${b}`;
}

// The link of a state: what is at its default is left out.
function linkOf(state) {
  if (state.door === "home") return state.lang === "en" ? "#" : `#home?lang=${state.lang}`;
  const parts = [];
  const add = (key, value) => parts.push(`${key}=${value}`);
  const door = state.door === "learn" ? `learn/${state.step}` : state.door;
  if (state.door !== "learn") {
    const { layer } = state;
    const plain = plainOf(state.door);
    for (const name of NUMBERS) if (layer[name].some((value) => value !== plain[name])) add(name, pairText(layer[name]));
    for (const name of CHANNELS) if (layer[name] !== PLAIN[name]) add(name, layer[name]);
    if (layer.crops) add("c", layer.crops.map((sides) => sides.join(":")).join("x"));
    if (layer.x) add("x", valuesOf(layer.x, layer.n[0], layer.n[1], INPUT_PATTERN).flat());
    if (layer.w) add("w", valuesOf(layer.w, layer.k[0], layer.k[1], KERNEL_PATTERN).flat());
    if (state.door === "explore") addView(state, add);
    if (state.door === "fix") {
      if (state.want) add("want", pairText(state.want));
      if (state.keep.length) add("keep", state.keep);
    }
  }
  if (state.lang !== "en") add("lang", state.lang);
  return `#${door}${parts.length ? "?" : ""}${parts.join("&")}`;
}

function addView(state, add) {
  if (state.view !== "a") add("view", state.view);
  if (state.along !== "columns") add("along", state.along);
  if (state.sel?.pinned) add("sel", `${state.sel.kind[0]}${state.sel.row}.${state.sel.column}`);
}

// A state from a link; what it does not know or cannot read is listed in `notices`, and the rest still holds.
function stateOf(link, lang = "en") {
  const state = initialState(lang);
  const [path, query = ""] = link.replace(/^#/, "").split("?");
  const [door, step] = path.split("/");
  if (DOORS.includes(door)) state.door = door;
  else if (path) state.notices.push({ why: "unknown_place", place: path });
  state.layer = plainLayer(plainOf(state.door));
  if (door === "learn" && step) {
    if (/^[1-8]$/.test(step)) state.step = Number(step);
    else state.notices.push({ why: "unreadable", key: "learn", value: step });
  }
  const maps = {};
  for (const part of query.split("&").filter(Boolean)) {
    const [key, value = ""] = part.split("=").map(decoded);
    if (!READERS[key]) state.notices.push({ why: "unknown_key", key });
    else if (!READERS[key](state, value, key, maps)) state.notices.push({ why: "unreadable", key, value });
  }
  for (const [key, [rows, columns]] of [["x", state.layer.n], ["w", state.layer.k]]) {
    if (!maps[key]) continue;
    if (maps[key].length === rows * columns) state.layer[key] = range(0, rows).map((r) => maps[key].slice(r * columns, (r + 1) * columns));
    else state.notices.push({ why: "wrong_length", key, count: maps[key].length, rows, columns });
  }
  state.square = isSquare(state.layer);
  return state;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readPair(text) {
  const found = /^([+-]?\d{1,7})(?:x([+-]?\d{1,7}))?$/.exec(text);
  return found && [Number(found[1]), Number(found[2] ?? found[1])];
}

function readNumber(state, value, key) {
  const pair = readPair(value);
  if (pair) state.layer[key] = pair;
  return pair;
}

function readChannels(state, value, key) {
  const found = /^[+-]?\d{1,7}$/.test(value);
  if (found) state.layer[key] = Number(value);
  return found;
}

function readValues(state, value, key, maps) {
  const found = value.split(",").map(Number);
  const good = found.every((number) => Number.isInteger(number) && Math.abs(number) <= VALUE) && value !== "";
  if (good) maps[key] = found;
  return good;
}

function readWord(allowed) {
  return (state, value, key) => {
    if (allowed.includes(value)) state[key] = value;
    return allowed.includes(value);
  };
}

const READERS = {
  ...Object.fromEntries(NUMBERS.map((name) => [name, readNumber])),
  ...Object.fromEntries(CHANNELS.map((name) => [name, readChannels])),
  x: readValues,
  w: readValues,
  view: readWord(VIEWS),
  along: readWord(["columns", "rows"]),
  lang: readWord(LANGUAGES),
  c(state, value) {
    const found = /^(-?\d{1,6}):(-?\d{1,6})(?:x(-?\d{1,6}):(-?\d{1,6}))?$/.exec(value);
    if (found) {
      const [lo, hi, lo2 = lo, hi2 = hi] = found.slice(1).filter((part) => part !== undefined).map(Number);
      state.layer.crops = [[lo, hi], [lo2, hi2]];
    }
    return found;
  },
  sel(state, value) {
    const found = /^([iot])(\d{1,6})\.(\d{1,6})$/.exec(value);
    if (found) state.sel = { kind: KINDS[found[1]], row: Number(found[2]), column: Number(found[3]), pinned: true };
    return found;
  },
  want(state, value) {
    const pair = readPair(value);
    if (pair) state.want = pair;
    return pair;
  },
  keep(state, value) {
    const names = value.split(",");
    const good = names.every((name) => ["k", "s", "p", "op", "d"].includes(name));
    if (good) state.keep = names;
    return good;
  },
};

// The line that asks the library's own command about a layer.
function commandOf(layer) {
  const parts = [`upconv explain ${layer.n[0] === layer.n[1] ? layer.n[0] : layer.n.join("x")}`, `-k ${pairText(layer.k)}`];
  if (pairText(layer.s) !== "1") parts.push(`-s ${pairText(layer.s)}`);
  if (layer.crops) {
    const sides = layer.crops.map((pair) => pair.join(":"));
    parts.push(`-p ${sides[0] === sides[1] ? sides[0] : sides.join("x")}`);
  } else {
    if (pairText(layer.p) !== "0") parts.push(`-p ${pairText(layer.p)}`);
    if (pairText(layer.op) !== "0") parts.push(`--op ${pairText(layer.op)}`);
  }
  if (pairText(layer.d) !== "1") parts.push(`-d ${pairText(layer.d)}`);
  if (layer.g !== 1) parts.push(`-g ${layer.g}`);
  if (layer.ci !== layer.g) parts.push(`--in-channels ${layer.ci}`);
  if (layer.co !== layer.g) parts.push(`--out-channels ${layer.co}`);
  return parts.join(" ");
}
