// A layer as code of each framework. `x` is an array in torch's layout, `weight` torch's weight; every piece runs.

const TARGETS = ["torch", "upconv", "keras", "onnx", "jax"];

// What stands for a layer in one framework: {lines, exact, differences, always, cut}. `lines` is the nearest call,
// `exact` the same with a cut afterwards, where only that stands between; both are lists of lines.
function codeOf(target, layer, h, w) {
  if (target === "upconv") return { lines: upconvLines(layer), exact: null, differences: [], steps: [] };
  const { settings, differences } = translate(target, h, w);
  const cut = cutAfterwards(target, h, w);
  const convention = CONVENTIONS[target];
  const groups = convention.groups ? layer.g : 1;
  const channels = [layer.ci / (convention.groups ? 1 : layer.g), layer.co / (convention.groups ? 1 : layer.g)];
  const lines = WRITERS[target](h, w, settings, channels, groups);
  const exact = cut && [...WRITERS[target](...cut.axes, cut.settings, channels, groups), ...sliced(target, cut.index)];
  return { lines, exact, differences, settings, groupless: !convention.groups && layer.g > 1 };
}

function sliced(target, index) {
  return target === "onnx" ? [`# y = y[${index}]`] : [`y = y[${index}]`];
}

// Pairs of equal numbers as one.
function single(value) {
  const alike = value?.tuple?.length === 2 && typeof value.tuple[0] === "number" && value.tuple[0] === value.tuple[1];
  return alike ? value.tuple[0] : value;
}

function given(values, plain = {}) {
  const kept = Object.entries(values).map(([key, value]) => [key, single(value)]);
  return keywords(Object.fromEntries(kept.filter(([key, value]) => value !== plain[key])));
}

function upconvLines(layer) {
  const values = { stride: tuple(...layer.s) };
  if (layer.crops) values.padding = tuple(...layer.crops.map((sides) => tuple(...sides)));
  else Object.assign(values, { padding: tuple(...layer.p), output_padding: tuple(...layer.op) });
  Object.assign(values, { groups: layer.g, dilation: tuple(...layer.d) });
  const rest = given(values, { stride: 1, padding: 0, output_padding: 0, groups: 1, dilation: 1 });
  return ["import upconv", `y = upconv.conv_transpose2d(x, weight${rest && ", "}${rest})`];
}

const WRITERS = {
  torch(h, w, settings, [cIn, cOut], groups) {
    const values = { ...stepArguments(TORCH, h, w), ...bothArguments(TORCH, settings), groups };
    const rest = given(values, { padding: 0, output_padding: 0, groups: 1 });
    return [
      "import torch",
      `layer = torch.nn.ConvTranspose2d(${cIn}, ${cOut}, ${rest}, bias=False)`,
      "layer.weight.data = torch.as_tensor(weight)",
      "y = layer(torch.as_tensor(x))",
    ];
  },
  keras(h, w, settings, [, cOut]) {
    const values = { ...stepArguments(KERAS, h, w), ...bothArguments(KERAS, settings) };
    return [
      "import keras",
      "x = x.transpose(0, 2, 3, 1)",
      ...weightSteps("keras"),
      `layer = keras.layers.Conv2DTranspose(${cOut}, ${given(values)}, use_bias=False)`,
      "layer.build(x.shape)",
      "layer.set_weights([weight])",
      "y = layer(x)",
    ];
  },
  onnx(h, w, settings, channels, groups) {
    const values = { ...stepArguments(ONNX, h, w), ...bothArguments(ONNX, settings) };
    const group = groups === 1 ? "" : `, group=${groups}`;
    return [
      "import onnx",
      'node = onnx.helper.make_node(',
      `    "ConvTranspose", ["x", "weight"], ["y"], ${keywords(values)}${group}`,
      ")",
    ];
  },
  jax(h, w, settings) {
    const values = { strides: tuple(h.s, w.s), ...bothArguments(JAX, settings), rhs_dilation: tuple(h.d, w.d) };
    return [
      "import jax",
      "x = x.transpose(0, 2, 3, 1)",
      ...weightSteps("jax"),
      "y = jax.lax.conv_transpose(",
      `    x, weight, ${keywords(values)}, dimension_numbers=("NHWC", "HWIO", "NHWC")`,
      ")",
    ];
  },
};

// What one framework's setting is worth: "same", "shifted", "resized" or "cannot".
function badgeOf(differences) {
  const whys = differences.map(({ why }) => why);
  if (whys.includes("keras_refuses") || whys.includes("onnx_runtime")) return "cannot";
  if (whys.includes("size")) return "resized";
  return whys.includes("shift") ? "shifted" : "same";
}
