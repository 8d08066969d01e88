// Why this size: below each input size stand the larger sizes that Conv2d turns into it, and output_padding picks one.

function makeSizeLine(dispatch) {
  const el = h("div", { class: "sizeline" });
  const draw = (state, legal, refusals) => drawSizeLine(el, state, legal, refusals, dispatch);
  return { el, draw };
}

function drawSizeLine(el, state, legal, refusals, dispatch) {
  const axes = [0, 1].map((axis) => axisAt(legal, axis));
  const named = sameAxis(...axes) ? [["both", axes[0], 0]] : [["height", axes[0], 0], ["width", axes[1], 1]];
  replace(el, named.flatMap(([name, axis, at]) => [
    named.length > 1 ? h("h3", { text: T(`axis_${name}`) }) : null,
    brackets(axis, state, at, named.length > 1, refusals, dispatch),
    h("ul", { class: "sentences" }, ambiguity(axis, say()).map((line) => h("li", { text: line }))),
    h("details", {}, h("summary", { text: T("sums") }), h("pre", { text: [...written(axis, say()), "", ...documented(axis, say())].join("\n") })),
  ]));
}

// Three input sizes and the sizes that lead to each; the reachable ones are buttons.
function brackets(axis, state, at, single, refusals, dispatch) {
  const setting = settingOf(axis);
  if (!setting) return paragraph(T("no_brackets"));
  const wanted = refusals.find((refusal) => refusal.why === "op_high" && refusal.axis === at);
  const beyond = wanted && torchAxis(axis.n, { ...setting, op: wanted.value }).out;
  const groups = [axis.n - 1, axis.n, axis.n + 1].filter((n) => n >= 1).flatMap((n) => {
    const sizes = sizesUndone(setting, n);
    if (!sizes.length && n !== axis.n) return [];
    const boxes = sizes.map((size) => sizeBox(size, n, axis, setting, beyond, (op) => dispatch({ type: "set", patch: { op }, axis: single ? at : null })));
    return [h("div", { class: n === axis.n ? "bracket own" : "bracket" }, h("div", { class: "sizes" }, boxes),
      h("div", { class: "arrow", "aria-hidden": "true", text: `↓ Conv2d` }), h("div", { class: "size small", text: `${n}` }))];
  });
  const label = T("brackets_label", { n: axis.n });
  return h("div", {}, h("div", { class: "brackets", role: "group", "aria-label": label }, groups),
    wanted ? paragraph(T("belongs_to", { size: beyond, n: axis.n, next: ownerOf(setting, axis.n, beyond) }), { class: "errortext" }) : null);
}

// The input size that Conv2d makes of a size.
function ownerOf(setting, n, size) {
  return n + Math.floor((size - smallest(setting, n)) / setting.s);
}

function sizeBox(size, n, axis, setting, beyond, pick) {
  const own = n === axis.n;
  const op = size - smallest(setting, n);
  const current = own && size === axis.out;
  if (own) {
    return h("button", {
      type: "button", class: current ? "size now" : "size", "aria-pressed": String(current), text: String(size),
      "aria-label": T("pick_size", { size, op }), "data-sub": `op=${op}`, onclick: () => pick(op),
    });
  }
  return h("span", { class: size === beyond ? "size wrong" : size === axis.out ? "size now" : "size faint", text: String(size) });
}
