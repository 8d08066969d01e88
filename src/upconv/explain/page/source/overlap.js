// How many products each output receives, and what that says about checkerboards. A verdict is {kind, why, ...values};
// `say.verdict` turns it into the library's sentence.

const COUNTED = 10000;

// Are the counts equal away from the borders? Of a short input, where all is border, the counts themselves decide.
function verdictOf(axis) {
  const core = onCanvas(axis);
  if (!core) return { kind: "holes", why: "off_canvas" };
  if (isSettled(core)) return bySetting(core);
  // Inputs and taps play the same part: with few inputs under many taps, the inputs are the kernel.
  const turned = makeAxis(core.k, core.n, core.d, core.s, core.lo, core.hi);
  return isSettled(turned) ? byInputs(core, turned) : byCounts(core);
}

function worstOf(axes) {
  const kinds = axes.map((axis) => verdictOf(axis).kind);
  return ["holes", "uneven", "even"].find((kind) => kinds.includes(kind));
}

// The axis without the outputs beyond the canvas; null where no output is left.
function onCanvas(axis) {
  const [lo, hi] = [Math.max(0, axis.lo), Math.max(0, axis.hi)];
  return lo + hi < axis.full ? makeAxis(axis.n, axis.k, axis.s, axis.d, lo, hi) : null;
}

// True if every phase has an output that receives all of its taps, so that the setting alone tells the counts.
function isSettled(axis) {
  if (axis.out < axis.s) return false;
  const classes = axis.s / axis.g;
  // Phases have one number of taps or one more; the first and the last of each kind are the hardest to fill.
  const firsts = [0, (axis.k % classes) - 1, Math.min(axis.k, classes) - 1];
  return firsts.filter((first) => first >= 0).every((first) => hasInner(axis, first));
}

function hasInner(axis, first) {
  const back = (ceilDiv(axis.k - first, axis.s / axis.g) - 1) * (axis.d / axis.g);
  const closest = Math.max(back, ceilDiv(-outputOf(axis, 0, first), axis.s));
  return closest < axis.n && outputOf(axis, closest, first) < axis.out;
}

function bySetting(axis) {
  const { s, d, k, g } = axis;
  const classes = s / g;
  if (g > 1 && k >= classes) return { kind: "holes", why: "shared_divisor", s, d, g };
  if (k < classes) return { kind: "holes", why: "short_kernel", empty: s - k, period: s, k, s };
  const most = ceilDiv(k, classes);
  const least = Math.floor(k / classes);
  if (most === least) return { kind: "even", why: s === 1 ? "stride_one" : "divides", count: most, s, k };
  return { kind: "uneven", why: "does_not_divide", most, least, s, k };
}

function byInputs(axis, turned) {
  const classes = turned.s / turned.g;
  const { n, s, d, g } = axis;
  // No number of inputs would fill the gaps of a divisor.
  if (g > 1 && n >= classes) return { kind: "holes", why: "shared_divisor", s, d, g };
  if (n < classes) return { kind: "holes", why: "tap_gaps", empty: d - n, period: d, d, n };
  const most = ceilDiv(n, classes);
  const least = Math.floor(n / classes);
  if (most === least) return { kind: "even", why: "few_inputs", count: most, n };
  return { kind: "uneven", why: "inputs_undivided", most, least, d, n };
}

// The verdict of an axis too short for any rule: an alternation is one, a rise and a fall is none.
function byCounts(axis) {
  const skipped = Math.floor(Math.max(0, axis.out - COUNTED) / 2);
  const outputs = range(skipped, axis.out - skipped).slice(0, COUNTED);
  const found = counts(axis, outputs);
  const whole = outputs.length === axis.out;
  const [most, least] = [Math.max(...found), Math.min(...found)];
  if (least === 0) {
    const empty = found.filter((count) => count === 0).length;
    return { kind: "holes", why: "counted_holes", empty, all: most === 0, whole };
  }
  if (most === least) return { kind: "even", why: "counted_even", count: most, whole };
  const steps = range(1, found.length).filter((at) => found[at] !== found[at - 1]).map((at) => found[at] > found[at - 1]);
  const calm = steps.every((rises, at) => at === 0 || !rises || steps[at - 1]);
  return { kind: calm ? "even" : "uneven", why: calm ? "counted_calm" : "counted_turns", least, most, whole };
}

// What lies near the borders: {first, last} or short, and how many outputs there hold the bias alone; null for nothing.
function borderOf(axis) {
  const core = onCanvas(axis);
  if (!core) return null;
  const ahead = (axis.k - 1) * axis.d - axis.s + 1 - core.lo;
  const behind = core.lo + core.out - axis.n * axis.s;
  if (ahead <= 0 && behind <= 0) return null;
  const ends = [["first", ahead, axis.lo < 0], ["last", behind, axis.hi < 0]]
    .filter(([, count]) => count > 0)
    .map(([end, count, canvas]) => ({ end, count: Math.min(count, core.out), canvas }));
  const dead = verdictOf(axis).kind === "holes" ? 0 : deadOutputs(core);
  return { ends, short: !isSettled(core), dead };
}

// The outputs beyond the canvas, which hold the bias alone: a list of {end, count}, or null.
function beyondOf(axis) {
  const ends = [["first", Math.min(axis.out, -axis.lo)], ["last", Math.min(axis.out, -axis.hi)]]
    .filter(([, count]) => count > 0)
    .map(([end, count]) => ({ end, count }));
  return ends.length ? { ends } : null;
}

// Settings of even overlap for the same sizes and stride that reach every output, the closest kernel first.
function evenAlternatives(axis, limit = 2) {
  const extent = axis.g > 1 ? axis.reach + 1 : axis.k;
  const times = Math.floor(extent / axis.s);
  const kernels = range(Math.max(1, times), times + 3).map((m) => m * axis.s);
  kernels.sort((a, b) => compareLists([Math.abs(a - extent), -a], [Math.abs(b - extent), -b]));
  return kernels.map((k) => fitted(axis, k)).filter((setting) => {
    if (!setting) return false;
    const other = torchAxis(axis.n, setting);
    return !deadOutputs(other) && verdictOf(other).kind === "even";
  }).slice(0, limit);
}

// The setting of k taps with the least output_padding that gives the axis's size; null where there is none.
function fitted(axis, k) {
  const surplus = makeAxis(axis.n, k, axis.s).full - axis.out;
  const op = mod(surplus, 2);
  return surplus >= 0 && op < axis.s ? { k, s: axis.s, p: (surplus + op) / 2, op, d: 1 } : null;
}

// The sentences of a whole layer about its counts, as `upconv explain` writes them.
function verdictSentences(h, w, say) {
  const alike = sameAxis(h, w);
  const named = alike ? [["both", h]] : [["height", h], ["width", w]];
  const sentences = named.map(([name, axis]) => say.named({ name, rest: say.verdict(verdictOf(axis)) }));
  const uneven = named.filter(([, axis]) => verdictOf(axis).kind !== "even");
  for (const [name, axis] of uneven) {
    const found = evenAlternatives(axis).map(settingArguments);
    if (found.length) sentences.push(say.named({ name, rest: say.same_but_even({ n: axis.n, out: axis.out, found }) }));
  }
  if (!uneven.length && Math.max(h.s, w.s) > 1) sentences.push(say.necessary());
  for (const [name, axis] of named) {
    const border = borderOf(axis);
    const beyond = beyondOf(axis);
    if (border) sentences.push(say.named({ name, rest: say.border(border) }));
    if (beyond) sentences.push(say.named({ name, rest: say.beyond(beyond) }));
  }
  return sentences;
}

function sameAxis(a, b) {
  return ["n", "k", "s", "d", "lo", "hi"].every((name) => a[name] === b[name]);
}
