// Number boxes with − and +, one row for each parameter, and under a box why its value cannot be and what could.

const MOST_FIELD = 7;

function makeControls(dispatch) {
  const fields = {};
  const names = [...NUMBERS, ...CHANNELS];
  for (const name of names) fields[name] = makeField(name, dispatch);
  const square = h("label", { class: "check" }, h("input", { type: "checkbox", onchange: (event) => dispatch({ type: "square", square: event.target.checked }) }), T("square"));
  const presets = makePresets(dispatch);
  const crops = makeCrops(dispatch);
  const more = h("details", { class: "more" }, h("summary", { text: T("more") }),
    h("div", { class: "fields" }, CHANNELS.map((name) => fields[name].el)), crops.el);
  const sheet = h("div", { class: "fields", id: "fields" }, NUMBERS.map((name) => fields[name].el));
  const toggle = h("button", { type: "button", class: "sheet", "aria-expanded": "false", "aria-controls": "fields", onclick: () => open(!el.classList.contains("open")) });
  const open = (wide) => {
    el.classList.toggle("open", wide);
    attr(toggle, "aria-expanded", String(wide));
    setText(toggle, `${wide ? "▾" : "▴"} ${T("parameters")}`);
  };
  const el = h("section", { class: "controls", "aria-label": T("controls") }, toggle, sheet,
    h("div", { class: "rowof" }, square, presets, more));
  open(false);
  const draw = (state, refusals) => {
    if (refusals.length) open(true);
    square.firstChild.checked = state.square;
    for (const name of names) fields[name].draw(state, refusals.filter((refusal) => refusal.name === name));
    crops.draw(state, refusals);
    if (state.layer.crops || state.layer.g !== 1 || state.layer.ci !== 1 || state.layer.co !== 1) more.open = true;
  };
  return { el, draw };
}

const SHORT = { n: "n", k: "k", s: "s", p: "p", op: "op", d: "d", g: "g", ci: "c_in", co: "c_out" };

function makeField(name, dispatch) {
  const paired = NUMBERS.includes(name);
  const error = h("div", { class: "error", id: `error-${name}`, role: "alert", hidden: true });
  const boxes = (paired ? [0, 1] : [null]).map((axis) => makeBox(name, axis, dispatch));
  const el = h("fieldset", { class: `field ${name}` },
    h("legend", {}, h("span", { class: "short", text: SHORT[name] }), " ", h("span", { class: "long", text: T(`name_${name}`) })),
    h("div", { class: "boxes" }, boxes.map((box) => box.el)), error);
  const draw = (state, refusals) => {
    const value = (axis) => (paired ? state.layer[name][axis] : state.layer[name]);
    el.classList.toggle("idle", Boolean(state.layer.crops) && (name === "p" || name === "op"));
    boxes.forEach((box, at) => {
      const wrong = refusals.some((refusal) => refusal.axis === null || refusal.axis === at || state.square);
      box.draw(value(at), wrong, state.square && paired, at);
      box.el.hidden = at === 1 && state.square;
    });
    drawError(error, refusals, state, dispatch);
  };
  return { el, draw };
}

function makeBox(name, axis, dispatch) {
  const where = axis === null ? "" : T(axis ? "of_width" : "of_height");
  const input = h("input", { type: "number", step: "1", inputmode: "numeric", id: `box-${name}${axis === 1 ? "-w" : ""}`, "aria-label": `${T(`name_${name}`)}${where}` });
  const set = (value) => dispatch({ type: "set", patch: { [name]: value }, axis: app.state.square ? null : axis });
  const current = () => Number(input.value) || 0;
  input.addEventListener("input", () => {
    if (/^-?\d+$/.test(input.value) && input.value.length <= MOST_FIELD) set(Number(input.value));
  });
  input.addEventListener("change", () => {
    if (!/^-?\d+$/.test(input.value)) input.value = input.last;
  });
  const step = (by, sign) => h("button", {
    type: "button", class: "step", tabindex: "-1", text: sign, "aria-label": T(by > 0 ? "increase" : "decrease", { name: `${T(`name_${name}`)}${where}` }), onclick: () => set(current() + by),
  });
  const tag = h("span", { class: "tag", "aria-hidden": "true", text: axis === null ? "" : T(axis ? "w_short" : "h_short") });
  const el = h("span", { class: "box" }, tag, step(-1, "−"), input, step(1, "+"));
  const draw = (value, wrong, alone) => {
    input.last = value;
    if (document.activeElement !== input || Number(input.value) !== value) input.value = value;
    attr(input, "aria-invalid", wrong ? "true" : null);
    attr(input, "aria-errormessage", wrong ? `error-${name}` : null);
    attr(input, "aria-label", alone ? T(`name_${name}`) : `${T(`name_${name}`)}${where}`);
    tag.hidden = alone || axis === null;
  };
  return { el, draw };
}

// The library's sentence, and buttons that mend.
function drawError(el, refusals, state, dispatch) {
  const shownRefusals = state.square ? refusals.slice(0, 1) : refusals;
  el.hidden = !refusals.length;
  const key = JSON.stringify([shownRefusals, state.lang]);
  if (el.key === key) return;
  el.key = key;
  replace(el, shownRefusals.flatMap((refusal) => {
    const sentence = say().refusal(refusal);
    const text = refusal.axis !== null && !state.square ? say().named({ name: refusal.axis ? "width_small" : "height_small", rest: sentence }) : sentence;
    const axis = state.square ? null : refusal.axis;
    const { n, ...setting } = settingAt(state.layer, refusal.axis ?? 0);
    const buttons = fixesOf(n, setting, refusal).map((patch) => h("button", {
      type: "button", class: "fix", text: fixName(patch), onclick: () => dispatch({ type: "set", patch, axis }),
    }));
    return [h("p", {}, ...prose(`${text}.`)), h("div", { class: "rowof" }, buttons)];
  }));
}

function fixName(patch) {
  return Object.entries(patch).map(([name, value]) => (name === "crops" ? T("crops_none") : `${T(`name_${name}`)} = ${value}`)).join(", ");
}

// Crops in place of padding, of both signs: what Keras, ONNX and JAX can say and torch cannot.
function makeCrops(dispatch) {
  const use = h("input", { type: "checkbox", onchange: () => dispatch({ type: "set", patch: { crops: use.checked ? cropsNow() : null } }) });
  const cropsNow = () => [0, 1].map((axis) => {
    const { lo, hi } = axisAt(app.state.layer, axis);
    return [lo, hi];
  });
  const field = h("input", { type: "text", class: "crops", "aria-label": T("crops_label"), size: "9", onchange: () => {
    const found = stateOf(`#explore?c=${field.value.trim()}`);
    if (found.layer.crops) dispatch({ type: "set", patch: { crops: found.layer.crops } });
    else field.value = field.last;
  } });
  const el = h("div", { class: "rowof" }, h("label", { class: "check" }, use, T("crops_use")), field);
  const draw = (state) => {
    use.checked = Boolean(state.layer.crops);
    const [[lo, hi], [lo2, hi2]] = state.layer.crops ?? cropsNow();
    field.last = lo === lo2 && hi === hi2 ? `${lo}:${hi}` : `${lo}:${hi}x${lo2}:${hi2}`;
    field.value = field.last;
    field.disabled = !use.checked;
  };
  return { el, draw };
}

const PRESETS = [
  ["first", {}],
  ["double", { n: 4, k: 4, s: 2, p: 1, op: 0 }],
  ["uneven", { n: 4, k: 3, s: 2, p: 1, op: 1 }],
  ["gaps", { n: 4, k: 2, s: 3, p: 0, op: 0 }],
  ["dilated", { n: 4, k: 3, s: 2, p: 0, op: 0, d: 2 }],
  ["one", { n: 1, k: 4, s: 1, p: 0, op: 0 }],
  ["keras", { n: 4, k: 3, s: 2, p: 0, op: 0, crops: [[0, 1], [0, 1]] }],
  ["large", { n: 31, k: 4, s: 2, p: 1, op: 0 }],
  ["depthwise", { n: 4, k: 4, s: 2, p: 1, op: 0, g: 4, ci: 4, co: 4 }],
];

function makePresets(dispatch) {
  const select = h("select", { "aria-label": T("presets"), onchange: () => {
    const [, values] = PRESETS[Number(select.value)] ?? [null, null];
    if (values) dispatch({ type: "load", layer: { ...plainLayer({ ...PLAIN, ...values }), crops: values.crops ?? null }, push: true });
    select.value = "";
  } }, h("option", { value: "", text: T("presets") }), PRESETS.map(([name], at) => h("option", { value: String(at), text: T(`preset_${name}`) })));
  return select;
}
