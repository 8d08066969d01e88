// The same axis as the documentation tells it: zeros between and around the inputs, and a turned kernel that reads.

function makeRead(label, hooks) {
  const el = h("div", { class: "strip read", "aria-label": label });
  const track = h("div", { class: "track", role: "presentation" });
  const rows = h("div", { role: "rowgroup" });
  track.append(rows);
  el.append(track);
  walkable(el, hooks);
  const view = { el, rows, model: null };
  view.draw = (model) => drawRead(view, model, 0);
  view.mark = (sel) => markRead(view, sel);
  return view;
}

// `model` is {axis, inputs, taps, outputs}: `outputs` are those that are shown.
function drawRead(view, model, o) {
  view.model = model;
  view.at = o;
  const { axis, inputs, outputs } = model;
  const rows = sync(view.rows, 3, makeRow);
  const first = outputs[0];
  const stop = outputs[outputs.length - 1] + axis.reach + 1;
  setVar(view.el, "--columns", stop - first);
  rows[0].className = "row inputs";
  fill(rows[0], T("row_zeros"), range(first, stop).map((q) => readCell(axis, inputs, q, first)));
  drawWindow(view, rows[1]);
  rows[2].className = "row canvas";
  const values = inputs && stampedRow(axis, inputs, model.taps);
  fill(rows[2], T("row_output"), outputs.map((each) => ({
    kind: "out output", r: 2, c: each - first, at: each - first, sel: onAxis("output", each),
    phase: phaseOnAxis(residueOf(axis, each), axis.s), text: values ? shown(values[each]) : `y${each}`,
    label: T("cell_read_output", { o: each, value: values?.[each] ?? null }),
  })));
  settle(view.el);
}

// What stands at place q of the row that is read, an input or (null) an inserted zero: output o reads place
// q = o + reach - t*d through tap t.
function inputAt(axis, q) {
  return inputOf(axis, q - axis.reach, 0);
}

function readCell(axis, inputs, q, first) {
  const i = inputAt(axis, q);
  const zero = i === null;
  return {
    kind: zero ? "zero" : "input", r: 0, c: q - first, at: q - first, sel: zero ? onAxis("zero", q) : onAxis("input", i),
    text: zero ? "0" : inputs ? shown(inputs[i]) : `x${i}`,
    label: zero ? T("cell_zero") : T("cell_input_1d", { i, value: inputs ? inputs[i] : null }),
  };
}

function drawWindow(view, row) {
  const { axis, taps, outputs } = view.model;
  row.className = "row stamp";
  fill(row, T("row_turned"), range(0, axis.k).map((place) => {
    const t = axis.k - 1 - place;
    const q = view.at + place * axis.d;
    const used = inputAt(axis, q) !== null;
    return {
      kind: `tap ${used ? "" : "struck"}`, r: 1, c: q - outputs[0], at: q - outputs[0], sel: onAxis("tap", t),
      phase: phaseOnAxis(residueOfTap(axis, t), axis.s), text: taps ? shown(taps[t]) : `w${t}`,
      label: T(used ? "cell_turned" : "cell_turned_zero", { t, value: taps ? taps[t] : null }),
    };
  }));
}

function markRead(view, sel) {
  const { axis, outputs } = view.model;
  if (sel?.kind === "output" && outputs.includes(sel.at)) view.at = sel.at;
  if (sel?.kind === "input") view.at = stampOf(axis, sel.at).map(([o]) => o).find((o) => outputs.includes(o)) ?? view.at;
  if (!outputs.includes(view.at)) view.at = outputs[0];
  const [top, middle, bottom] = view.rows.children;
  drawWindow(view, middle);
  const met = pairsOf(axis, view.at);
  for (const cell of top.lastChild.children) {
    const own = cell.sel;
    const inWindow = own.kind === "input" && met.some(([i]) => i === own.at);
    markCell(cell, sel?.kind === "input" && own.kind === "input" && own.at === sel.at ? "chosen" : inWindow ? "partner" : "");
  }
  for (const cell of middle.lastChild.children) markCell(cell, sel?.kind === "tap" && cell.sel.at === sel.at ? "chosen" : "");
  for (const cell of bottom.lastChild.children) {
    const o = cell.sel.at;
    const reached = sel?.kind === "input" && stampOf(axis, sel.at).some(([each]) => each === o);
    const through = sel?.kind === "tap" && tapPairs(axis, sel.at).some(([each]) => each === o);
    markCell(cell, o === view.at && (!sel || sel.kind === "output") ? "chosen" : reached || through ? "partner" : "");
  }
}
