// The inverse question: which settings turn n inputs into a wanted number of outputs, in the order of `upconv solve`.

const MAX_DILATION = 4;
const LARGEST_BOUND = 40;
const MOST_COMBINATIONS = 300000;
const MOST_FOUND = 10000;
const NEAR = 3;
const NAMED = 3;

// The largest kernel, stride and dilation searched: they suit the enlargement that is asked for.
function searchBounds(n, out) {
  const ratio = Math.min(ceilDiv(out, n), LARGEST_BOUND);
  return { k: Math.min(Math.max(11, 2 * ratio), LARGEST_BOUND), s: Math.max(8, ratio), d: MAX_DILATION };
}

// Every PyTorch setting within the bounds that does all (n, out) of `sizes`, best first; `fixed` numbers are kept.
function commonSettings(sizes, fixed = {}) {
  const distinct = sizes.filter(([n, out], at) => sizes.findIndex(([m, o]) => m === n && o === out) === at);
  let [shared, ...others] = distinct.map(([n, out]) => candidates(n, out, fixed));
  for (const other of others) {
    const keys = new Set(other.map(settingArguments));
    shared = shared.filter((setting) => keys.has(settingArguments(setting)));
  }
  return ranked(shared, distinct.map(([n]) => n));
}

function ranked(found, axes) {
  return found
    .map((setting) => [rankOf(setting, axes), setting])
    .sort((a, b) => compareLists(a[0], b[0]))
    .map(([, setting]) => setting);
}

function candidates(n, out, fixed) {
  const bounds = searchBounds(n, out);
  if (combinationsOf(bounds, fixed) > MOST_COMBINATIONS) return [];
  const found = [];
  for (const s of choices(fixed.s, 1, bounds.s)) {
    for (const d of choices(fixed.d, 1, bounds.d)) {
      for (const k of choices(fixed.k, 1, bounds.k)) {
        const surplus = makeAxis(n, k, s, d).full - out;
        for (const op of choices(fixed.op, 0, Math.max(s, d) - 1)) {
          const p = (surplus + op) / 2;
          if (!Number.isInteger(p) || p < 0 || op >= Math.max(s, d)) continue;
          if (fixed.p === undefined || fixed.p === p) found.push({ k, s, p, op, d });
        }
      }
    }
  }
  return found;
}

function combinationsOf(bounds, fixed) {
  const span = (name) => (fixed[name] === undefined ? bounds[name] : 1);
  return span("k") * span("s") * span("d") * Math.max(fixed.s ?? bounds.s, fixed.d ?? bounds.d);
}

// Why a question is not answered: there is too much to search, or too much to list. Null where it is.
function tooMany(sizes, fixed = {}) {
  for (const [n, out] of sizes) {
    const bounds = searchBounds(n, out);
    const combinations = combinationsOf(bounds, fixed);
    if (combinations > MOST_COMBINATIONS) return { why: "combinations", combinations, ...bounds };
    const found = candidates(n, out, fixed);
    if (found.length > MOST_FOUND) return { why: "found", most: MOST_FOUND, n, out, best: firstOf(found, n, fixed) };
  }
  return null;
}

// The first NAMED in the order of commonSettings, of too many to rank: only those are ranked that are first where they
// are good, of the least dilation and even overlap, without waste. Empty where there are none, or too many of them.
function firstOf(found, n, fixed) {
  const even = found.filter(({ k, s, d }) => d === (fixed.d ?? 1) && gcd(s, d) === 1 && k % s === 0);
  if (even.length > MOST_FOUND) return [];
  return ranked(even.filter((setting) => !isWasteful(torchAxis(n, setting))), [n]).slice(0, NAMED);
}

function choices(fixed, least, most) {
  return fixed === undefined ? range(least, most + 1) : [fixed];
}

function rankOf(setting, sizes) {
  const axes = sizes.map((n) => torchAxis(n, setting));
  const cost = axes.map(usefulTaps).reduce((a, b) => a * b, 1);
  const even = axes[0].g === 1 && setting.k % setting.s === 0;
  // Dilation makes the sum smaller only by pushing taps over the borders, so it must not win by that.
  const { op, d, s, k, p } = setting;
  return [axes.some(isWasteful), !even, d > 1, cost, op, d, s, k, p].map(Number);
}

function compareLists(a, b) {
  const at = a.findIndex((value, place) => value !== b[place]);
  return at < 0 ? 0 : a[at] - b[at];
}

// True if some input reaches no output, or some output receives the bias alone whatever the weights.
function isWasteful(axis) {
  return deadOutputs(axis) > 0 || ignoresInputs(axis);
}

// The taps [first, last + 1) of input i that land on outputs.
function tapsOfInput(axis, i) {
  const first = Math.max(0, ceilDiv(-outputOf(axis, i, 0), axis.d));
  return [first, Math.min(axis.k, ceilDiv(axis.out - outputOf(axis, i, 0), axis.d))];
}

// The inputs [first, last + 1) whose tap t lands on outputs.
function inputsOfTap(axis, t) {
  const first = Math.max(0, ceilDiv(-outputOf(axis, 0, t), axis.s));
  return [first, Math.min(axis.n, ceilDiv(axis.out - outputOf(axis, 0, t), axis.s))];
}

// Products that reach an output, for one pair of channels, counted over the shorter side.
function usefulTaps(axis) {
  const runs = axis.k <= axis.n
    ? range(0, axis.k).map((t) => inputsOfTap(axis, t))
    : range(0, axis.n).map((i) => tapsOfInput(axis, i));
  return sum(runs.map(([start, stop]) => Math.max(0, stop - start)));
}

function ignoresInputs(axis) {
  const inputs = axis.out < axis.d ? range(0, axis.n) : [0, axis.n - 1];
  return inputs.some((i) => ignored(axis, i));
}

function ignored(axis, i) {
  const [start, stop] = tapsOfInput(axis, i);
  return start >= stop;
}

function ignoredInputs(axis) {
  return range(0, axis.n).filter((i) => ignored(axis, i)).length;
}

// How many outputs receive no product at all, counted without visiting them.
function deadOutputs(axis) {
  return axis.out - reachedPositions([axis.n, axis.s], [axis.k, axis.d], axis.lo, axis.lo + axis.out);
}

// How many of the canvas positions lo..hi - 1 some input reaches through some tap; each is (number, spacing).
function reachedPositions(inputs, taps, lo, hi) {
  // Inputs and taps play the same part; the sum is over the fewer classes.
  const common = gcd(inputs[1], taps[1]);
  const classesOf = (run, other) => Math.min(other[0], run[1] / common);
  const turned = classesOf(taps, inputs) < classesOf(inputs, taps);
  const [[n, s], [k, d]] = turned ? [taps, inputs] : [inputs, taps];
  const classes = s / common;
  const back = d / common;
  let total = 0;
  for (let first = 0; first < Math.min(k, classes); first++) {
    const runs = ceilDiv(k - first, classes);
    const [begin, end] = [lo, hi].map((q) => ceilDiv(q - first * d, s));
    total += runsBelow(end, n, runs, back) - runsBelow(begin, n, runs, back);
  }
  return total;
}

// How many numbers below x lie in one of the runs m*back, ..., m*back + n - 1 for m below `runs`.
function runsBelow(x, n, runs, back) {
  if (back <= n) return Math.min(Math.max(x, 0), (runs - 1) * back + n);
  const m = Math.floor(Math.max(x, 0) / back);
  return m < runs ? m * n + Math.min(Math.max(x, 0) % back, n) : runs * n;
}

// A setting close to the given one that turns n inputs into `out` outputs. First padding and output_padding alone may
// change, since then the weight keeps its shape; then the kernel; then stride and dilation.
function nearest(setting, n, out) {
  if (n < 1 || out < 1) return null;
  const given = [setting.k, setting.s, setting.d].map((value) => [value]);
  const near = given.map(([value]) => range(Math.max(1, value - NEAR), value + NEAR + 1));
  for (const [ks, ss, ds] of [given, [near[0], given[1], given[2]], near]) {
    let best = null;
    for (const k of ks) for (const s of ss) for (const d of ds) {
      for (const other of completed(setting, k, s, d, n, out)) {
        const distance = distanceOf(setting, other);
        if (!best || compareLists(distance, best.distance) < 0) best = { distance, other };
      }
    }
    if (best) return best.other;
  }
  return plainest(n, out);
}

// For a kernel, stride and dilation, the paddings that give the size and may be closest to those of the setting.
function completed(setting, k, s, d, n, out) {
  const surplus = makeAxis(n, k, s, d).full - out;
  const corners = [0, setting.op, -surplus, 2 * setting.p - surplus, Math.max(s, d) - 1];
  return corners
    .flatMap((corner) => [corner - 1, corner, corner + 1])
    .map((op) => ({ k, s, p: (surplus + op) / 2, op, d }))
    .filter(({ p, op }) => Number.isInteger(p) && p >= 0 && op >= 0 && op < Math.max(s, d));
}

// Stamps side by side, cut to the size; with a stride of 1 an odd excess needs one more tap.
function plainest(n, out) {
  const s = ceilDiv(out, n);
  const excess = n * s - out;
  if (s === 1) return { k: 1 + (excess % 2), s: 1, p: ceilDiv(excess, 2), op: 0, d: 1 };
  return { k: s, s, p: ceilDiv(excess, 2), op: excess % 2, d: 1 };
}

function distanceOf(setting, other) {
  const gap = (name) => Math.abs(setting[name] - other[name]);
  const changed = (name) => Number(setting[name] !== other[name]);
  return [gap("p") + gap("op") + 2 * (gap("k") + gap("s") + gap("d")), changed("s"), changed("k"), other.op, other.p];
}

// The rows of `upconv solve` for the sizes of both axes: one list where one setting does both as well as each can be done
// alone, else one for each axis.
function solutionsFor(sizes, fixed = {}) {
  const alike = String(sizes[0]) === String(sizes[1]);
  const refusal = tooMany(sizes, fixed);
  if (refusal) return [{ axis: null, sizes: alike ? [sizes[0]] : sizes, found: [], refusal }];
  const found = commonSettings(sizes, fixed);
  if (alike) return [{ axis: null, sizes: [sizes[0]], found }];
  const own = sizes.map((size) => commonSettings([size], fixed));
  if (isGood(found, own, sizes)) return [{ axis: null, sizes, found }];
  return sizes.map((size, axis) => ({ axis, sizes: [size], found: own[axis] }));
}

// Whether the best setting of all axes wastes, alternates and dilates no more than the best of each axis alone.
function isGood(found, own, sizes) {
  if (!found.length || !own.every((each) => each.length)) return found.length > 0;
  const kind = (setting, [n]) => rankOf(setting, [n]).slice(0, 3);
  const [worst] = own.map(([best], axis) => kind(best, sizes[axis])).sort((a, b) => compareLists(b, a));
  return sizes.every((size) => compareLists(kind(found[0], size), worst) <= 0);
}

// What stands in one row: the setting, what its overlap is, products, and the sizes that its Conv2d turns into n.
function solutionRow(setting, sizes, square) {
  const axes = sizes.map(([n]) => torchAxis(n, setting));
  const taps = axes.map(usefulTaps);
  const products = square ? taps[0] ** 2 : taps.reduce((a, b) => a * b, 1);
  const beyond = Math.max(...axes.map((axis) => Math.min(axis.out, -axis.hi)));
  const dead = Math.max(...axes.map(deadOutputs));
  const undone = sizes.map(([n, out]) => {
    const all = sizesUndone(setting, n);
    return all.includes(out) ? all : null;
  });
  return { setting, products, undone, beyond, dead, cropping: setting.p > Math.floor((setting.d * (setting.k - 1)) / 2) + 1, kind: worstOf(axes), ignored: Math.max(...axes.map(ignoredInputs)) };
}
