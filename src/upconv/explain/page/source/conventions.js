// How torch, ONNX, Keras and JAX say a crop, and the nearest that each can say: the library's conventions and translation.
// A convention is a set of functions of its settings; `options` are the settings worth considering, the simplest first.

const OUT_CHANNELS = "out/groups";

// Two crops that sum to `total`; a negative total is an extension, which belongs at the end.
function share(total) {
  const less = Math.floor(total / 2);
  return total < 0 ? [0, total] : [less, total - less];
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

const tuple = (...items) => ({ tuple: items });

const TORCH = {
  name: "torch",
  title: "torch.nn.ConvTranspose2d",
  layout: "NCHW",
  groups: true,
  flipped: false,
  weight: ["in", OUT_CHANNELS, "kH", "kW"],
  spelling: ["kernel_size", "stride", "dilation"],
  crops: ({ p, op }) => [p, p - op],
  arguments: ({ p, op }) => ({ padding: p, output_padding: op }),
  shared: () => "",
  options(axis) {
    const most = Math.max(axis.s, axis.d) - 1;
    const total = axis.lo + axis.hi;
    const least = Math.max(ceilDiv(total, 2), 0);
    const largest = Math.max(Math.floor((total + most) / 2), 0);
    // They cross when the total is odd and nothing can be given back: then the size is missed by one, either way.
    const paddings = [...new Set([least, clamp(axis.lo, least, largest)])].sort((a, b) => a - b);
    return paddings.map((p) => ({ p, op: clamp(2 * p - total, 0, most) }));
  },
};

const ONNX = {
  name: "onnx",
  title: "ONNX ConvTranspose",
  layout: "NCHW",
  groups: true,
  flipped: false,
  weight: TORCH.weight,
  spelling: ["kernel_shape", "strides", "dilations"],
  crops: ({ pads, op }) => [pads[0], pads[1] - op],
  arguments: ({ pads, op }) => ({ output_padding: [op], pads }),
  shared: () => "",
  cautions: ({ op }, s) => (op < s ? [] : [{ why: "onnx_runtime", op, s }]),
  options(axis) {
    const most = Math.max(axis.s, axis.d) - 1;
    const total = axis.lo + axis.hi;
    const lo = clamp(axis.lo, 0, Math.max(total + most, 0));
    const hi = Math.max(total - lo, -most);
    return [{ pads: [lo, Math.max(hi, 0)], op: Math.max(-hi, 0) }];
  },
};

const KERAS = {
  name: "keras",
  title: "keras.layers.Conv2DTranspose",
  layout: "NHWC",
  groups: false,
  flipped: false,
  weight: ["kH", "kW", "out", "in"],
  spelling: ["kernel_size", "strides", "dilation_rate"],
  crops({ word, op }, axis) {
    const extent = axis.reach + 1;
    if (word === "valid") return [0, -(op ?? Math.max(axis.s - extent, 0))];
    return share(extent - (op === null ? axis.s : (extent % 2) + op));
  },
  arguments: ({ word, op }) => (op === null ? { padding: word } : { padding: word, output_padding: op }),
  shared: ({ word, op }) => `${word} ${op === null}`,
  // The layer refuses any stride above 1 together with any dilation above 1, even on different axes.
  limits(axes) {
    const stride = Math.max(...axes.map((axis) => axis.s));
    const dilation = Math.max(...axes.map((axis) => axis.d));
    return stride === 1 || dilation === 1 ? [] : [{ why: "keras_refuses", stride, dilation }];
  },
  options(axis) {
    const extent = axis.reach + 1;
    const total = axis.lo + axis.hi;
    return [
      { word: "same", op: null },
      { word: "valid", op: null },
      { word: "same", op: clamp(extent - (extent % 2) - total, 0, axis.s - 1) },
      { word: "valid", op: clamp(-total, 0, axis.s - 1) },
    ];
  },
};

const JAX = {
  name: "jax",
  title: "jax.lax.conv_transpose",
  layout: "NHWC",
  groups: false,
  flipped: true,
  weight: ["kH", "kW", "in", "out"],
  spelling: [null, "strides", "rhs_dilation"],
  crops({ padding }, axis) {
    if (padding === "SAME") return share(axis.reach + 1 - axis.s);
    if (padding === "VALID") return [0, Math.min(axis.reach + 1 - axis.s, 0)];
    return padding.tuple.map((side) => axis.reach - side);
  },
  arguments: ({ padding }) => ({ padding }),
  shared: ({ padding }) => (typeof padding === "string" ? padding : ""),
  // Zeros to add rather than crops, since older JAX has no use_consistent_padding.
  options: (axis) => [
    { padding: "SAME" },
    { padding: "VALID" },
    { padding: tuple(axis.reach - axis.lo, axis.reach - axis.hi) },
  ],
};

const CONVENTIONS = { torch: TORCH, onnx: ONNX, keras: KERAS, jax: JAX };

// Both axes at once, since a framework may have one word ("same") for the two: the nearest settings, and what differs.
function translate(target, h, w) {
  const convention = CONVENTIONS[target];
  let best = null;
  for (const a of convention.options(h)) {
    for (const b of convention.options(w)) {
      if (convention.shared(a) !== convention.shared(b)) continue;
      const [in_h, in_w] = [mismatch(convention, a, h), mismatch(convention, b, w)];
      const distance = [in_h[0] + in_w[0], in_h[1] + in_w[1]];
      const closer = !best || distance[0] < best.distance[0]
        || (distance[0] === best.distance[0] && distance[1] < best.distance[1]);
      if (closer) best = { distance, settings: [a, b] };
    }
  }
  const [a, b] = best.settings;
  const differences = [
    ...(convention.limits?.([h, w]) ?? []),
    ...differencesOf(convention, a, h).map((difference) => ({ ...difference, axis: "height" })),
    ...differencesOf(convention, b, w).map((difference) => ({ ...difference, axis: "width" })),
  ];
  return { settings: best.settings, differences };
}

function mismatch(convention, setting, axis) {
  const [lo, hi] = convention.crops(setting, axis);
  const growth = axis.lo + axis.hi - lo - hi;
  return axis.out + growth > 0 ? [Math.abs(growth), Math.abs(lo - axis.lo)] : [Infinity, 0];
}

function differencesOf(convention, setting, axis) {
  const [lo, hi] = convention.crops(setting, axis);
  const growth = axis.lo + axis.hi - lo - hi;
  const earlier = lo - axis.lo;
  const given = keywords(convention.arguments(setting));
  const wish = { name: convention.name, lo: axis.lo, hi: axis.hi, given };
  return [
    ...(growth ? [{ why: "size", ...wish, is: axis.out + growth, out: axis.out }] : []),
    ...(earlier ? [{ why: "shift", ...wish, earlier, resized: growth !== 0 }] : []),
    ...(convention.cautions?.(setting, axis.s) ?? []),
  ];
}

// The differences as sentences, with what holds for height and width said once.
function differenceSentences(differences, say) {
  const texts = differences.map((difference) => [difference.axis, say.difference(difference)]);
  const other = { height: "width", width: "height" };
  return texts.flatMap(([axis, text]) => {
    if (!axis) return [text];
    const twice = texts.some(([name, also]) => name === other[axis] && also === text);
    if (twice) return axis === "height" ? [say.named({ name: "both_small", rest: text })] : [];
    return [say.named({ name: `${axis}_small`, rest: text })];
  });
}

// A value as Python writes it.
function repr(value) {
  if (typeof value === "string") return `'${value}'`;
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  return value?.tuple ? `(${value.tuple.map(repr).join(", ")})` : String(value);
}

function keywords(given) {
  return Object.entries(given).map(([key, value]) => `${key}=${repr(value)}`).join(", ");
}

// The arguments of the two-dimensional call: words are said once, lists interleave (ONNX), the rest stand side by side.
function bothArguments(convention, [a, b]) {
  const [h, w] = [convention.arguments(a), convention.arguments(b)];
  const beside = (x, y) => {
    if (typeof x === "string") return x;
    return Array.isArray(x) ? x.flatMap((value, at) => [value, y[at]]) : tuple(x, y);
  };
  return Object.fromEntries(Object.keys(h).map((key) => [key, beside(h[key], w[key])]));
}

// Kernel, stride and dilation in a framework's spelling, without what is the default.
function stepArguments(convention, h, w) {
  const pairs = [[h.k, w.k, 0], [h.s, w.s, 1], [h.d, w.d, 1]];
  const given = {};
  convention.spelling.forEach((key, at) => {
    const [a, b, plain] = pairs[at];
    if (key && !(a === plain && b === plain)) given[key] = convention.name === "onnx" ? [a, b] : tuple(a, b);
  });
  return given;
}

function callOf(target, h, w, settings) {
  const convention = CONVENTIONS[target];
  const given = { ...stepArguments(convention, h, w), ...bothArguments(convention, settings) };
  return `${convention.title}(${keywords(given)})`;
}

// Where only a cut stands between the two: run the layer uncut, and cut its output. Null where that is not so.
function cutAfterwards(target, h, w) {
  if (!translate(target, h, w).differences.length || Math.min(h.lo, w.lo) < 0) return null;
  const uncut = [h, w].map((axis) => makeAxis(axis.n, axis.k, axis.s, axis.d, 0, Math.min(0, axis.hi)));
  const whole = translate(target, ...uncut);
  if (whole.differences.length) return null;
  const cuts = [h, w].map((axis) => `${axis.lo || ""}:${axis.hi > 0 ? -axis.hi : ""}`).join(", ");
  const index = CONVENTIONS[target].layout === "NHWC" ? `:, ${cuts}, :` : `:, :, ${cuts}`;
  return { settings: whole.settings, axes: uncut, index };
}

// NumPy statements that turn torch's weight into another's; empty when nothing changes.
function weightSteps(target) {
  const convention = CONVENTIONS[target];
  const have = TORCH.weight.map((axis) => axis.split("/")[0]);
  const order = convention.weight.map((axis) => have.indexOf(axis.split("/")[0]));
  const steps = String(order) === "0,1,2,3" ? [] : [`weight = weight.transpose(${order.join(", ")})`];
  if (convention.flipped) steps.push("weight = weight[::-1, ::-1]");
  return steps;
}

// Whether other input sizes get the same answer: some beyond this one, and all those shorter than a stamp.
function holdsAlways(target, h, w, axesOf) {
  const extent = Math.max(h.reach, w.reach) + 1;
  if (extent > 1000) return false;
  const found = translate(target, h, w);
  const same = (sizes, refusable) => {
    const axes = axesOf(sizes);
    if (axes.some((axis) => axis.out < 1)) return refusable;
    const other = translate(target, ...axes);
    const alike = JSON.stringify(other.settings) === JSON.stringify(found.settings);
    return alike && other.differences.length === found.differences.length;
  };
  const beyond = [1, 2, 5].every((more) => same([h.n + more, w.n + more], false));
  return beyond && range(1, extent + 1).every((n) => same([n, n], true));
}
