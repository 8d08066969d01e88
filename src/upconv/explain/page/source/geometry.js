// One axis of a transposed convolution, and the phases of its outputs. The definition stands in outputOf, once: all that
// the page draws or says about places follows from it.

function outputOf(axis, i, t) {
  return i * axis.s + t * axis.d - axis.lo;
}

// n inputs, k taps, stride s, dilation d, and two signed crops: `lo` at the beginning, `hi` at the end.
function makeAxis(n, k, s = 1, d = 1, lo = 0, hi = 0) {
  const axis = { n, k, s, d, lo, hi };
  axis.full = outputOf({ s, d, lo: 0 }, n - 1, k - 1) + 1;
  axis.out = axis.full - lo - hi;
  axis.reach = d * (k - 1);
  axis.g = gcd(s, d);
  return axis;
}

function torchAxis(n, { k, s = 1, p = 0, op = 0, d = 1 }) {
  return makeAxis(n, k, s, d, p, p - op);
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : Math.abs(a);
}

function mod(a, b) {
  return ((a % b) + b) % b;
}

function ceilDiv(a, b) {
  return Math.ceil(a / b);
}

function range(start, stop, step = 1) {
  const values = [];
  for (let value = start; value < stop; value += step) values.push(value);
  return values;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

// The input that reaches output o through tap t, or null.
function inputOf(axis, o, t) {
  const steps = (o - outputOf(axis, 0, t)) / axis.s;
  return Number.isInteger(steps) && steps >= 0 && steps < axis.n ? steps : null;
}

// The (input, tap) pairs of one output, by rising tap.
function pairsOf(axis, o) {
  const found = [];
  for (let t = 0; t < axis.k; t++) {
    const i = inputOf(axis, o, t);
    if (i !== null) found.push([i, t]);
  }
  return found;
}

// The (output, tap) pairs of one input: where its stamp lands, without what was cut.
function stampOf(axis, i) {
  return range(0, axis.k)
    .map((t) => [outputOf(axis, i, t), t])
    .filter(([o]) => o >= 0 && o < axis.out);
}

// The (output, input) pairs that meet through one tap.
function tapPairs(axis, t) {
  return range(0, axis.n)
    .map((i) => [outputOf(axis, i, t), i])
    .filter(([o]) => o >= 0 && o < axis.out);
}

function counts(axis, outputs = range(0, axis.out)) {
  return outputs.map((o) => pairsOf(axis, o).length);
}

// The canvas position of an output modulo the stride.
function residueOf(axis, o) {
  return mod(o + axis.lo, axis.s);
}

// The residue of the positions on which tap t lands.
function residueOfTap(axis, t) {
  return residueOf(axis, outputOf(axis, 0, t));
}

function tapsOf(axis, residue) {
  return range(0, axis.k).filter((t) => residueOfTap(axis, t) === residue);
}

// The phases in the order of their first outputs: residue, taps, first output, number of outputs.
function phasesOf(axis, limit = Infinity) {
  return range(0, Math.min(axis.s, axis.out, limit)).map((start) => {
    const residue = residueOf(axis, start);
    return { residue, taps: tapsOf(axis, residue), start, count: ceilDiv(axis.out - start, axis.s) };
  });
}

// Where canvas and output lie together, as positions [first, last + 1); output o stands at position o + lo.
function extentOf(axis) {
  return [Math.min(0, axis.lo), Math.max(axis.full, axis.lo + axis.out)];
}

// What stands at a canvas position: an output, an output beyond the canvas (bias alone), or what padding cut.
function kindAt(axis, position) {
  const o = position - axis.lo;
  if (o < 0 || o >= axis.out) return "cut";
  return position >= 0 && position < axis.full ? "output" : "beyond";
}

const WHOLE = 20;
const SHOWN = 12;

// The positions worth drawing: all, or as many as 12 outputs take, from the first, the middle or the last of them, or
// around one output.
function windowOf(axis, where = "first") {
  const [first, last] = extentOf(axis);
  if (last - first <= WHOLE) return { start: first, stop: last, whole: true };
  const start = { first: axis.lo - 2, middle: axis.lo + Math.floor((axis.out - SHOWN) / 2), last: axis.lo + axis.out - SHOWN }[where] ?? axis.lo + where - SHOWN / 2;
  const from = Math.max(first, Math.min(start, last - SHOWN));
  return { start: from, stop: Math.min(last, from + SHOWN + 2), whole: false };
}

// The inputs whose stamps reach into a window of positions; at least one, so that something can be shown.
function inputsIn(axis, { start, stop }) {
  const first = Math.max(0, ceilDiv(start - axis.reach, axis.s));
  const last = Math.min(axis.n, ceilDiv(stop, axis.s));
  const at = Math.min(first, axis.n - 1);
  return range(at, Math.max(last, at + 1));
}
