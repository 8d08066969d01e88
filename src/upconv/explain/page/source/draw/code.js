// Port: the layer in each framework, what differs, and where each cuts the one canvas.

const CODE_TITLES = { torch: "PyTorch", upconv: "upconv", keras: "Keras", onnx: "ONNX", jax: "JAX" };

function makeCode() {
  const tabs = makeTabs(TARGETS.map((name) => [name, CODE_TITLES[name]]), T("frameworks"), () => draw(...last));
  const canvas = h("div", { class: "cuts" });
  const command = h("code", { class: "command" });
  const el = h("div", { class: "code" }, canvas, tabs.el, tabs.panels,
    h("div", { class: "rowof" }, h("span", { text: T("command") }), command, copyButton(T("copy"), () => command.textContent)));
  let last = [];
  function draw(layer, high, wide) {
    last = [layer, high, wide];
    drawCuts(canvas, high, wide);
    const target = tabs.current();
    replace(tabs.panel(target), codePanel(target, layer, high, wide));
    setText(command, commandOf(layer));
  }
  return { el, draw };
}

function codePanel(target, layer, high, wide) {
  const found = codeOf(target, layer, high, wide);
  const block = (lines) => h("div", { class: "block" }, h("pre", { tabindex: "0", role: "group", "aria-label": CODE_TITLES[target] }, h("code", { text: lines.join("\n") })), copyButton(T("copy"), () => lines.join("\n")));
  const badge = badgeOf(found.differences);
  const parts = [h("p", {}, h("span", { class: `badge ${badge}`, text: badgeText(badge, found.differences) })), block(found.lines)];
  if (found.differences.length) {
    parts.push(h("ul", { class: "sentences" }, differenceSentences(found.differences, say()).map((line) => h("li", {}, ...prose(line)))));
  }
  if (found.exact) parts.push(h("h3", { text: T("exact_cut") }), block(found.exact));
  if (found.groupless) parts.push(paragraph(say().no_groups({ target: CODE_TITLES[target], groups: layer.g })));
  if (target !== "upconv") parts.push(paragraph(weightNote(target), { class: "muted" }), paragraph(sizeNote(target, layer, high, wide), { class: "muted" }));
  return parts;
}

function badgeText(badge, differences) {
  const shift = differences.find(({ why }) => why === "shift");
  return T(`badge_${badge}`, { steps: shift ? Math.abs(shift.earlier) : 0 });
}

function weightNote(target) {
  const { weight, layout } = CONVENTIONS[target];
  return T("weight_note", { axes: weight.join(", "), layout });
}

function sizeNote(target, layer, high, wide) {
  const shape = say().shape({ n: [high.n, wide.n], out: [high.out, wide.out] });
  const axesOf = (sizes) => sizes.map((n, axis) => axisAt({ ...layer, n: [n, n] }, axis));
  return holdsAlways(target, high, wide, axesOf) ? say().always({ shape }) : say().depends({ shape });
}

// One canvas, a bracket for each framework's nearest setting; both axes where they differ.
function drawCuts(el, high, wide) {
  const axes = sameAxis(high, wide) ? [["", high, 0]] : [["axis_height", high, 0], ["axis_width", wide, 1]];
  replace(el, axes.flatMap(([title, axis, at]) => {
    const rows = ["torch", "onnx", "keras", "jax"].map((target) => {
      const { settings, differences } = translate(target, high, wide);
      const [lo, hi] = CONVENTIONS[target].crops(settings[at], axis);
      return [CODE_TITLES[target], lo, hi, badgeText(badgeOf(differences), differences)];
    });
    const first = Math.min(0, axis.lo, ...rows.map(([, lo]) => lo));
    const last = Math.max(axis.full, axis.full - axis.hi, ...rows.map(([, , hi]) => axis.full - hi));
    const bar = (name, from, to, kind, text) => {
      const line = h("div", { class: `cutbar ${kind}`, text });
      setVar(line, "--from", (100 * (from - first)) / (last - first));
      setVar(line, "--size", (100 * (to - from)) / (last - first));
      return h("div", { class: "cutrow" }, h("span", { class: "cutname", text: name }), h("div", { class: "cutlane" }, line));
    };
    return [
      title ? h("h3", { text: T(title) }) : null,
      h("div", { class: "cutchart", role: "group", "aria-label": T("cuts_label") },
        bar(T("canvas"), 0, axis.full, "whole", T("canvas_of", { full: axis.full })),
        rows.map(([name, lo, hi, badge]) => bar(name, lo, axis.full - hi, lo === axis.lo && hi === axis.hi ? "agrees" : "differs", `${T("keeps", { from: lo, to: axis.full - hi - 1, out: axis.full - lo - hi })} · ${badge}`))),
    ];
  }));
}
