// Why a size is what it is: refusals, the sum with its numbers filled in, and the sizes nearby. Sentences come from
// `say`, the words of a language; the English ones are the library's own.

// The numbers of a setting as keyword arguments, without those that are the default.
function settingArguments(setting) {
  const names = { k: "kernel_size", s: "stride", p: "padding", op: "output_padding", d: "dilation" };
  const plain = { s: 1, p: 0, op: 0, d: 1 };
  return Object.keys(names)
    .filter((key) => setting[key] !== plain[key])
    .map((key) => `${names[key]}=${setting[key]}`)
    .join(", ");
}

// The PyTorch setting that is this axis, or null where PyTorch cannot say it.
function settingOf(axis) {
  const setting = { k: axis.k, s: axis.s, p: axis.lo, op: axis.lo - axis.hi, d: axis.d };
  return setting.p >= 0 && setting.op >= 0 && setting.op < Math.max(axis.s, axis.d) ? setting : null;
}

// Why one axis cannot be: a list of {name, ...} for `say.refusal`, empty where it can. `crops` stands in place of
// padding and output_padding, and may be negative.
function refusalsOf(n, { k, s, p, op, d, crops }) {
  const values = { n, k, s, d };
  if (!crops) {
    const step = Math.max(s, d);
    const outside = [...below("p", p, 0), ...below("op", op, 0)];
    if (step >= 1 && op >= step) outside.push({ why: "op_high", name: "op", value: op, bound: step });
    if (outside.length) return outside;
  }
  const low = Object.keys(values).find((name) => values[name] < 1);
  if (low) return [{ why: "below_one", name: low, value: values[low] }];
  const axis = crops ? makeAxis(n, k, s, d, ...crops) : torchAxis(n, { k, s, p, op, d });
  if (axis.out >= 1) return [];
  return [{ why: "nothing_left", name: "p", out: axis.out, full: axis.full, lo: axis.lo, hi: axis.hi }];
}

function below(name, value, least) {
  return value < least ? [{ why: "below_zero", name, value }] : [];
}

// Why channels and groups cannot be; null where they can.
function channelRefusal(cIn, cOut, groups) {
  if (groups < 1) return { why: "below_one", name: "g", value: groups };
  const channels = [["ci", cIn], ["co", cOut]];
  for (const [name, value] of channels) if (value < 1) return { why: "below_one", name, value };
  for (const [name, value] of channels) {
    if (value % groups) return { why: "undivided", name, value, groups, divisor: divisorBelow(groups, gcd(cIn, cOut)) };
  }
  return null;
}

function divisorBelow(bound, value) {
  return Math.max(...range(1, Math.min(bound, value + 1)).filter((divisor) => value % divisor === 0));
}

// What to change, each a patch that makes the axis possible; the first is the smallest change.
function fixesOf(n, setting, refusal) {
  const { k, s, p, op, d } = setting;
  const fixes = {
    below_one: () => [{ [refusal.name]: 1 }],
    below_zero: () => [{ [refusal.name]: 0 }],
    too_large: () => [{ [refusal.name]: 32 }],
    op_high: () => [{ op: Math.max(s, d) - 1 }, { s: op + 1 }],
    nothing_left: () => {
      if (setting.crops) return [{ crops: [0, 0] }];
      const full = torchAxis(n, { k, s, d }).full;
      const most = Math.floor((full - 1 + op) / 2);
      return [...(most >= 0 ? [{ p: most }] : []), { n: n + ceilDiv(1 - refusal.out, s) }];
    },
    undivided: () => [{ g: refusal.divisor }, { [refusal.name]: ceilDiv(refusal.value, refusal.groups) * refusal.groups }],
  };
  return fixes[refusal.why]();
}

// The canvas and its cuts, with the numbers filled in.
function written(axis, say) {
  const { n, k, s, d, lo, hi, full, out } = axis;
  const setting = settingOf(axis);
  const crops = setting
    ? `crop_lo = padding = ${setting.p}, crop_hi = padding - output_padding = ${setting.p} - ${setting.op} = ${hi}`
    : say.crops_beyond({ lo, hi });
  return [
    `full = (n - 1)*s + d*(k - 1) + 1 = (${n} - 1)*${s} + ${d}*(${k} - 1) + 1 = ${full}`,
    crops,
    `out = full - crop_lo - crop_hi = ${full} - ${signed(lo)} - ${signed(hi)} = ${out}`,
  ];
}

function signed(value) {
  return value < 0 ? `(${value})` : `${value}`;
}

// How many zeros the documentation puts before and after the spread input; negative means values are removed.
function insertedZeros(axis) {
  return [axis.reach - axis.lo, axis.reach - axis.hi];
}

// The zeros and the ordinary convolution: the documentation's telling.
function documented(axis, say) {
  const { n, k, s, d, lo, hi } = axis;
  const spread = (n - 1) * s + 1;
  const reach = `${d}*(${k} - 1)`;
  const setting = settingOf(axis);
  const [before, after] = insertedZeros(axis);
  const length = spread + before + after;
  const left = setting ? `padding = ${reach} - ${setting.p}` : `crop_lo = ${reach} - ${signed(lo)}`;
  const right = setting
    ? `padding + output_padding = ${reach} - ${setting.p} + ${setting.op}`
    : `crop_hi = ${reach} - ${signed(hi)}`;
  return [
    `s - 1 = ${say.zeros({ count: s - 1, where: "between" })}: (n - 1)*s + 1 = (${n} - 1)*${s} + 1 = ${say.values({ count: spread })}`,
    `d*(k - 1) - ${left} = ${say.zeros({ count: before, where: "before" })}`,
    `d*(k - 1) - ${right} = ${say.zeros({ count: after, where: "after" })}`,
    say.in_all({ sum: `${spread} + ${signed(before)} + ${signed(after)}`, length }),
    say.ordinary({ length, reach: axis.reach, out: axis.out }),
  ];
}

// The output sizes for output_padding 0, 1, ..., all else equal; those that are positive.
function reachable(setting, n) {
  const least = smallest(setting, n);
  return range(Math.max(1, least), Math.max(1, least + Math.max(setting.s, setting.d)));
}

// The sizes that Conv2d with the same numbers turns into n: sizes are undone, not values.
function sizesUndone(setting, n) {
  const least = smallest(setting, n);
  return range(Math.max(1, least), Math.max(1, least + setting.s));
}

function smallest(setting, n) {
  return torchAxis(n, { ...setting, op: 0 }).out;
}

// Why this size and not its neighbour, and what makes the neighbours.
function ambiguity(axis, say) {
  const setting = settingOf(axis);
  if (!setting) {
    const other = nearest(settingOf(makeAxis(axis.n, axis.k, axis.s, axis.d)), axis.n, axis.out);
    const { lo, hi } = axis;
    return [
      say.torch_cannot({ lo, hi, step: Math.max(axis.s, axis.d) }),
      say.torch_reaches({ other: settingArguments(other) }),
    ];
  }
  const lines = [undoneSentence(setting, axis.n, say), ...chosen(setting, axis.n, say), ...kept(axis, setting, say)];
  for (const wanted of [axis.out - 1, axis.out + 1]) {
    const other = nearest(setting, axis.n, wanted);
    if (other) lines.push(say.instead({ wanted, other: settingArguments(other) }));
  }
  return lines;
}

function undoneSentence(setting, n, say) {
  const sizes = sizesUndone(setting, n);
  const conv = `Conv2d(${settingArguments({ ...setting, op: 0 })})`;
  if (!sizes.length) return say.undoes_none({ conv, n });
  if (sizes.length > 1) return say.undoes_several({ conv, n, sizes });
  return say.undoes_one({ conv, n, size: sizes[0], alone: Math.max(setting.s, setting.d) === 1 });
}

function chosen(setting, n, say) {
  const sizes = reachable(setting, n);
  const largest = Math.max(setting.s, setting.d) - 1;
  if (largest === 0) return [say.op_must_be_zero()];
  const dropped = largest + 1 - sizes.length;
  const shown = sizes.length <= 4 ? range(0, sizes.length) : [0, 1, sizes.length - 1];
  const options = shown.map((place) => say.op_gives({ op: dropped + place, size: sizes[place] }));
  if (sizes.length > 4) options.splice(2, 0, "...");
  return options.length ? [say.op_says_it({ options: options.join(", ") })] : [];
}

function kept(axis, setting, say) {
  if (Math.max(setting.s, setting.d) === 1) return [];
  return [axis.hi >= 0 ? say.op_keeps() : say.op_keeps_more({ beyond: Math.min(axis.out, -axis.hi) })];
}
