// The sentences about a layer in English: the library's own, word for word (a test compares them).

const EN_NAMES = {
  n: "input size", k: "kernel", s: "stride", p: "padding", op: "output_padding", d: "dilation",
  g: "groups", ci: "in_channels", co: "out_channels",
};

const plural = (count, word = "") => `${word}${count === 1 ? "" : "s"}`;

// Numbers as words join them; a long run by its ends.
function listed(values, and = " and ") {
  if (values.length > 3) return `${values[0]} to ${values[values.length - 1]}`;
  const last = String(values[values.length - 1]);
  return values.length > 1 ? `${values.slice(0, -1).join(", ")}${and}${last}` : last;
}

const products = (count) => `${count} ${plural(count, "product")}`;
const shareOf = (empty, period) => `${empty} of every ${period} outputs ${empty === 1 ? "holds" : "hold"}`;
const whose = (whole) => (whole ? "the outputs" : `the middle ${COUNTED.toLocaleString("en-US")} outputs`);

const EN_VERDICTS = {
  off_canvas: () => "no output lies on the canvas: all hold the bias alone",
  shared_divisor: ({ s, d, g }) =>
    `only one position in ${g} is ever reached, because s = ${s} and d = ${d} share the divisor ${g}; the outputs between hold the bias alone`,
  short_kernel: ({ empty, period, k, s }) =>
    `${shareOf(empty, period)} the bias alone, because k = ${k} ${plural(k, "tap")} cannot cover a stride of ${s}`,
  stride_one: ({ count }) => `every inner output receives ${products(count)}, because every stamp starts one further`,
  divides: ({ count, s, k }) => `every inner output receives ${products(count)}, because s = ${s} divides k = ${k}`,
  does_not_divide: ({ most, least, s, k }) =>
    `outputs take turns between ${most} and ${least} products, because s = ${s} does not divide k = ${k}`,
  tap_gaps: ({ empty, period, d, n }) =>
    `${shareOf(empty, period)} the bias alone, because taps d = ${d} apart leave gaps that ${n} ${plural(n, "input")} cannot fill`,
  few_inputs: ({ count, n }) =>
    `every inner output receives ${products(count)}, as many as ${n} ${plural(n, "input")} can give it`,
  inputs_undivided: ({ most, least, d, n }) =>
    `outputs take turns between ${most} and ${least} products, because d = ${d} does not divide n = ${n}`,
  counted_holes: ({ empty, all, whole }) =>
    `${all ? "all of" : `${empty} of`} ${whose(whole)} hold${empty === 1 && !all ? "s" : ""} the bias alone`,
  counted_even: ({ count, whole }) => `${whose(whole)} receive ${products(count)} each; the input is too short, or cut too far, for more`,
  counted_calm: ({ least, most, whole }) =>
    `the input is short, or cut far, and ${whose(whole)} receive from ${least} to ${most} products, rising and falling without taking turns`,
  counted_turns: ({ least, most, whole }) =>
    `the input is short, or cut far, and ${whose(whole)} receive from ${least} to ${most} products, taking turns between more and fewer`,
};

const EN_REFUSALS = {
  below_one: ({ name, value }) => `${EN_NAMES[name]} is ${value}; it must be at least 1`,
  below_zero: ({ name, value }) => `${EN_NAMES[name]} is ${value}; it must be at least 0, so the nearest is 0`,
  op_high: ({ value, bound }) =>
    `output_padding is ${value}; it must be below max(stride, dilation) = ${bound}, so at most ${bound - 1}`,
  nothing_left: ({ out, full, lo, hi }) =>
    `the output size would be ${out}: the canvas has a size of ${full}, of which padding cuts (${lo}, ${hi}); it may cut at most ${full - 1} in all`,
  undivided: ({ name, value, groups, divisor }) =>
    `${EN_NAMES[name]} is ${value}, which groups=${groups} does not divide; groups=${divisor} would`,
  too_large: ({ name, value, most }) => `${EN_NAMES[name]} is ${value}; this page draws up to ${most}`,
};

const EN_AXES = {
  both: "Height and width", height: "Height", width: "Width",
  both_small: "height and width", height_small: "height", width_small: "width",
};

function cropWords(crop) {
  return crop >= 0 ? `crop ${crop}` : `add ${-crop}`;
}

function wishWords({ name, lo, hi }) {
  const [first, last] = [cropWords(lo), cropWords(hi)];
  const verb = `${first.split(" ")[0]} `;
  return `${name} cannot ${first} at the beginning and ${last.startsWith(verb) ? last.slice(verb.length) : last} at the end`;
}

const EN_DIFFERENCES = {
  size: (v) => `${wishWords(v)}; with ${v.given} the output size is ${v.is} instead of ${v.out}`,
  shift(v) {
    const steps = Math.abs(v.earlier);
    const size = v.resized ? "" : "the size is the same, but ";
    return `${wishWords(v)}; with ${v.given} ${size}everything lies ${steps} ${plural(steps, "step")} ${v.earlier > 0 ? "earlier" : "later"}`;
  },
  onnx_runtime: ({ op, s }) =>
    `ONNX allows output_padding=${op} with stride ${s}, ONNX Runtime does not: it refuses what is not below the stride, and old versions compute wrong values`,
  keras_refuses: ({ stride, dilation }) =>
    `Keras refuses stride ${stride} together with dilation ${dilation}; a kernel spread to dilation*(k - 1) + 1 taps by zeros, with dilation_rate=1, says the same`,
};

const SAY_EN = {
  listed,
  name: (name) => EN_NAMES[name],
  named: ({ name, rest }) => `${EN_AXES[name]}: ${rest}${name.endsWith("_small") ? "" : "."}`,
  refusal: (v) => EN_REFUSALS[v.why](v),
  verdict: (v) => EN_VERDICTS[v.why](v),
  difference: (v) => EN_DIFFERENCES[v.why](v),
  crops_beyond: ({ lo, hi }) => `crop_lo = ${lo}, crop_hi = ${hi} (which PyTorch cannot say)`,
  zeros({ count, where }) {
    const place = where === "between" ? " between inputs" : ` ${where}`;
    if (count < 0) return `${count}: ${-count} ${plural(-count, "value")} removed${place}`;
    return `${count} ${plural(count, "zero")}${place}`;
  },
  values: ({ count }) => `${count} ${plural(count, "value")}`,
  in_all: ({ sum: total, length }) => `${total} = ${length} ${plural(length, "value")} in all`,
  ordinary: ({ length, reach, out }) =>
    `an ordinary convolution with the kernel turned round: ${length} - d*(k - 1) = ${length} - ${reach} = ${out} ${plural(out, "output")}`,
  torch_cannot: ({ lo, hi, step }) =>
    `PyTorch cannot say crops of ${lo} and ${hi}: it needs 0 <= crop_lo - crop_hi < max(stride, dilation) = ${step} and crop_lo >= 0.`,
  torch_reaches: ({ other }) => `It reaches the same size, with other places, by ${other}.`,
  undoes_none: ({ conv, n }) => `${conv} turns no size into ${n}.`,
  undoes_one: ({ conv, n, size, alone }) =>
    `${conv} turns ${size} into ${n}, and no other size${alone ? ": this layer can give back only that one" : ""}.`,
  undoes_several: ({ conv, n, sizes }) =>
    `${conv} turns ${listed(sizes)} alike into ${n}, so ${n} alone cannot say which to give back.`,
  op_must_be_zero: () => "output_padding must stay 0 here, since it has to be below max(stride, dilation) = 1.",
  op_gives: ({ op, size }) => `output_padding=${op} gives ${size}`,
  op_says_it: ({ options }) => `output_padding says it: ${options}.`,
  op_keeps: () => "It adds no zeros to the output: it keeps more of the canvas at its end.",
  op_keeps_more: ({ beyond }) =>
    `It keeps more of the canvas at its end, and here more than there is: ${beyond === 1 ? "the last output lies" : `the last ${beyond} outputs lie`} beyond it, bias alone.`,
  instead: ({ wanted, other }) => `To get ${wanted} instead: ${other}.`,
  same_but_even: ({ n, out, found }) =>
    `the same ${n} → ${out} with even overlap: ${found.map((each) => `(${each})`).join(" or ")}`,
  necessary: () =>
    "Equal counts are necessary, not sufficient: each phase has taps of its own, and training may leave them with different sums, which shows as a checkerboard again.",
  border({ ends, short, dead }) {
    const places = ends.map(({ end, count, canvas }) =>
      `${count === 1 ? `the ${end} output` : `some of the ${end} ${count}`}${canvas ? " on the canvas" : ""}`);
    const note = short
      ? "the input is so short, or cut so far, that not every phase has an output with all of its taps"
      : `fewer at the borders, where the inputs end: ${places.join(" and ")}`;
    return dead ? `${note}; ${dead} ${plural(dead, "output")} there hold${dead === 1 ? "s" : ""} the bias alone` : note;
  },
  beyond({ ends }) {
    const places = ends.map(({ end, count }) => `the ${end} ${count === 1 ? "output" : `${count} outputs`}`);
    const one = ends.length === 1 && ends[0].count === 1;
    return `${places.join(" and ")} ${one ? "lies" : "lie"} beyond the canvas: bias alone`;
  },
  too_many: (v) => (v.why === "found"
    ? `more than ${v.most.toLocaleString("en-US")} settings turn ${v.n} into ${v.out}${v.best.length ? `, the best of them ${v.best.map((each) => `(${settingArguments(each)})`).join("; ")}` : ""}: give the kernel or the stride, or lower the bounds`
    : `${v.combinations.toLocaleString("en-US")} combinations are too many to search; give the kernel or the stride, or lower the bounds (kernel ${v.k}, stride ${v.s}, dilation ${v.d})`),
  remark({ kind, ignored: unused, beyond, dead, cropping }) {
    const words = [kind];
    if (cropping) words.push("cropping");
    if (unused) words.push(`${unused} ${plural(unused, "input")} unused`);
    if (beyond > 0 && beyond === dead) words.push(`last ${beyond} bias only`);
    else if (dead) words.push(`${dead} ${plural(dead, "output")} bias only`);
    return words.join(", ");
  },
  undone: (sizes) => sizes.map((all) => (all ? listed(all) : "-")).filter((text, at, texts) => texts.indexOf(text) === at).join(" × "),
  always: ({ shape }) => `Holds for every input size; for instance ${shape}.`,
  depends: ({ shape }) => `The answer depends on the input size: here ${shape}.`,
  shape: ({ n, out }) => `${n[0]} × ${n[1]} gives ${out[0]} × ${out[1]}`,
  no_groups: ({ target, groups }) =>
    `groups: ${target} has none; ${groups} layers, one for each group of channels, joined along the channels`,
};
