// Small integers to compute with, and what the layer makes of them: one pair of connected channels.

const INPUT_PATTERN = [1, 2, 3, 1, 0, 2, -1, 1, 3, 2, 1, -2, 2, 1, 0, 3, 1, 2, -1];
const KERNEL_PATTERN = [1, 2, 1, 0, 3, 1, 2, 0, 1, 1, -1, 2, 1];

// The numbers of a map of `rows` x `columns`: those that were typed where there are any, else the pattern's.
function valuesOf(typed, rows, columns, pattern) {
  const plain = (r, c) => pattern[(r * columns + c) % pattern.length];
  return range(0, rows).map((r) => range(0, columns).map((c) => typed?.[r]?.[c] ?? plain(r, c)));
}

// The products of one output, in the order of the inputs: [{i, j, t, u, x, w}] with input x[i][j] and tap w[t][u].
function termsOf(h, w, r, c, valueOfInput, valueOfTap) {
  const terms = [];
  const columns = pairsOf(w, c).reverse();
  for (const [i, t] of pairsOf(h, r).reverse()) {
    for (const [j, u] of columns) terms.push({ i, j, t, u, x: valueOfInput(i, j), w: valueOfTap(t, u) });
  }
  return terms;
}

function totalOf(terms) {
  return sum(terms.map((term) => term.x * term.w));
}

// A whole output, on one axis: stamps of `taps` times each value of `inputs`.
function stampedRow(axis, inputs, taps) {
  return range(0, axis.out).map((o) => sum(pairsOf(axis, o).map(([i, t]) => inputs[i] * taps[t])));
}

// Conv1d with the same numbers: the same wires, backwards; input i gathers what its stamp would reach.
function gatheredRow(axis, outputs, taps) {
  return range(0, axis.n).map((i) => sum(stampOf(axis, i).map(([o, t]) => outputs[o] * taps[t])));
}

// A whole output in two dimensions.
function stampedMap(h, w, x, kernel) {
  const rows = range(0, h.out).map((r) => pairsOf(h, r));
  const columns = range(0, w.out).map((c) => pairsOf(w, c));
  return rows.map((inRows) => columns.map((inColumns) => {
    let total = 0;
    for (const [i, t] of inRows) for (const [j, u] of inColumns) total += x[i][j] * kernel[t][u];
    return total;
  }));
}

// Kernels to answer a constant input with. `yours` is what the boxes hold.
const KERNELS = {
  ones: (k) => range(0, k).map(() => 1),
  bilinear: (k, s) => {
    const centre = (k - 1) / 2;
    const half = Math.max(1, Math.ceil(k / 2));
    return range(0, k).map((t) => Math.max(0, 1 - Math.abs(t - centre) / Math.max(half, s)));
  },
};

// A kernel of a kind, kh x kw; the random one is the same on every visit.
function kernelOf(kind, h, w, yours) {
  if (kind === "yours") return yours;
  if (kind === "random") {
    let seed = 12345;
    const next = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
    return range(0, h.k).map(() => range(0, w.k).map(() => Math.round(200 * next() - 60) / 100));
  }
  const rows = KERNELS[kind](h.k, h.s);
  const columns = KERNELS[kind](w.k, w.s);
  return rows.map((a) => columns.map((b) => a * b));
}

const MOST_RESPONSES = 16384;

// What the layer, taken one to three times, makes of a constant input of 1; fewer times where the map grows too large.
function responseTo(h, w, kernel, times) {
  let map = range(0, h.n).map(() => range(0, w.n).map(() => 1));
  let layers = 0;
  for (; layers < times; layers++) {
    const [rows, columns] = [again(h, map.length), again(w, map[0].length)];
    if (layers && (rows.out * columns.out > MOST_RESPONSES || rows.out < 1 || columns.out < 1)) break;
    map = stampedMap(rows, columns, map, kernel);
  }
  return { map, layers };
}

function again(axis, n) {
  return makeAxis(n, axis.k, axis.s, axis.d, axis.lo, axis.hi);
}

// The sum of the weights of each phase: what a constant input of 1 becomes away from the borders. Deviations are from
// their mean, in per cent; null where the mean is 0.
function phaseSums(h, w, kernel) {
  const rows = range(0, h.s).map((residue) => [residue, tapsOf(h, residue)]);
  const columns = range(0, w.s).map((residue) => [residue, tapsOf(w, residue)]);
  const sums = rows.flatMap(([a, taps]) => columns.map(([b, others]) => ({
    row: a, column: b, count: taps.length * others.length, total: sum(taps.map((t) => sum(others.map((u) => kernel[t][u])))),
  })));
  const mean = sum(sums.map((phase) => phase.total)) / sums.length;
  const scale = Math.max(...sums.map((phase) => Math.abs(phase.total)), 1);
  const none = Math.abs(mean) < 1e-12 * scale;
  return sums.map((phase) => ({ ...phase, deviation: none ? null : (100 * (phase.total - mean)) / mean }));
}

// A number as the page shows it: a true minus, three significant digits, and a sign where that rounds.
function shown(value) {
  if (Number.isInteger(value)) return minus(String(value));
  const short = Number(value.toPrecision(3));
  return (Math.abs(short - value) > 1e-9 * Math.abs(value) ? "≈ " : "") + minus(String(short));
}

function minus(text) {
  return text.replace(/-/g, "\u2212");
}

// A factor in a product: negative ones in parentheses.
function factor(value) {
  return value < 0 ? `(${shown(value)})` : shown(value);
}

function productText({ x, w }) {
  return `${factor(x)}·${factor(w)}`;
}
