// The line that always stands: one output as its sum, one input or tap as what it reaches, or how the size comes about.

const TERMS_SHOWN = 12;

function makeEquation(edit) {
  const text = h("p", { class: "equation mono" });
  const why = h("p", { class: "muted" });
  const stepper = h("span", { class: "box", hidden: true });
  const el = h("section", { class: "equationline", "aria-label": T("equation") }, h("div", { class: "rowof" }, text, stepper), why);
  const draw = (state, model) => {
    const lines = equationOf(state, model);
    setText(text, lines[0]);
    setText(why, lines[1] ?? "");
    drawStepper(stepper, state, model, edit);
    speak(lines.join(" "));
  };
  return { el, draw };
}

// A selection that the layer still has; else null.
function validSelection(sel, { h: high, w: wide }) {
  if (!sel) return null;
  const bounds = { output: [high.out, wide.out], input: [high.n, wide.n], tap: [high.k, wide.k] }[sel.kind];
  return bounds && sel.row < bounds[0] && sel.column < bounds[1] ? sel : null;
}

function equationOf(state, model) {
  const sel = validSelection(state.sel, model);
  const { h: high, w: wide, x, kernel } = model;
  if (!sel) return [sizeLine(high, wide), T("equation_hint")];
  if (sel.kind === "output") return outputEquation(sel, model);
  const value = sel.kind === "input" ? x[sel.row][sel.column] : kernel[sel.row][sel.column];
  const [rows, columns] = sel.kind === "input"
    ? [stampOf(high, sel.row), stampOf(wide, sel.column)] : [tapPairs(high, sel.row), tapPairs(wide, sel.column)];
  const name = `${sel.kind === "input" ? "x" : "w"}[${sel.row},${sel.column}]`;
  return [`${name} = ${shown(value)}`, T(`reaches_${sel.kind}`, { outputs: rows.length * columns.length, taps: high.k * wide.k })];
}

function outputEquation(sel, { h: high, w: wide, x, kernel }) {
  const terms = termsOf(high, wide, sel.row, sel.column, (i, j) => x[i][j], (t, u) => kernel[t][u]);
  const name = `y[${sel.row},${sel.column}]`;
  const { letter } = phaseOf(residueOf(high, sel.row), residueOf(wide, sel.column), high.s, wide.s);
  if (!terms.length) {
    const beyond = [kindAt(high, sel.row + high.lo), kindAt(wide, sel.column + wide.lo)].includes("beyond");
    return [`${name} = 0`, T(beyond ? "eq_beyond" : "eq_hole")];
  }
  const few = terms.slice(0, TERMS_SHOWN).map(productText).join(" + ");
  const rest = terms.length > TERMS_SHOWN ? ` + … (${terms.length})` : "";
  return [`${name} = ${few}${rest} = ${shown(totalOf(terms))}`, T("eq_phase", { count: terms.length, letter, phases: high.s * wide.s })];
}

function sizeLine(high, wide) {
  const one = (axis) =>
    `(${axis.n} − 1)·${axis.s} + ${axis.d}·(${axis.k} − 1) + 1 − ${factor(axis.lo)} − ${factor(axis.hi)} = ${axis.out}`;
  const shape = `${high.n}×${wide.n} → ${high.out}×${wide.out}`;
  return `${shape}:  ${sameAxis(high, wide) ? one(high) : `${one(high)};  ${one(wide)}`}`;
}

// A pinned input or tap can be changed by − and +: for those without a keyboard.
function drawStepper(el, state, model, edit) {
  const sel = validSelection(state.sel, model);
  const open = Boolean(sel?.pinned && sel.kind !== "output");
  el.hidden = !open;
  if (!open) return;
  const name = sel.kind === "input" ? "x" : "w";
  const map = name === "x" ? model.x : model.kernel;
  const change = (by) => () => edit(name, sel.row, sel.column, map[sel.row][sel.column] + by);
  const label = `${name}[${sel.row},${sel.column}]`;
  const key = JSON.stringify([sel, map[sel.row][sel.column]]);
  if (el.key === key) return;
  el.key = key;
  const had = el.contains(document.activeElement) && document.activeElement.dataset.by;
  replace(el, [-1, 1].map((by) => h("button", { type: "button", class: "step", "data-by": String(by), text: by < 0 ? "−" : "+", "aria-label": T(by < 0 ? "decrease" : "increase", { name: label }), onclick: change(by) })));
  if (had) el.querySelector(`[data-by="${had}"]`).focus();
}
