// The table of an axis: which output receives which input through which tap. Conv2d's table, turned.

function makeTable(label, hooks) {
  const el = h("div", { class: "table", "aria-label": label });
  walkable(el, hooks);
  const rows = h("div", { role: "rowgroup", class: "tablerows" });
  el.append(rows);
  const view = { el, rows, model: null };
  view.draw = (model) => drawTable(view, model);
  view.mark = (sel) => markTable(view, sel);
  return view;
}

// `model` is {axis, outputs, start, stop}: outputs down, inputs across.
function drawTable(view, model) {
  view.model = model;
  const { axis, outputs } = model;
  const shownInputs = inputsIn(axis, model);
  setVar(view.el, "--columns", shownInputs.length + 1);
  const rows = sync(view.rows, outputs.length + 1, () => h("div", { role: "row", class: "tablerow" }));
  line(rows[0], [
    { kind: "corner", r: 0, c: 0, sel: null, text: "", label: T("table_corner") },
    ...shownInputs.map((i, at) => ({ kind: "input", r: 0, c: at + 1, sel: onAxis("input", i), text: `x${i}`, label: T("cell_input_1d", { i, value: null }) })),
  ]);
  outputs.forEach((o, at) => {
    const met = new Map(pairsOf(axis, o));
    line(rows[at + 1], [
      { kind: "out output", r: at + 1, c: 0, sel: onAxis("output", o), phase: phaseOnAxis(residueOf(axis, o), axis.s), text: `y${o}`, label: T("cell_read_output", { o, value: null }) },
      ...shownInputs.map((i, column) => tableCell(axis, o, i, met.get(i), at + 1, column + 1)),
    ]);
  });
  settle(view.el);
}

function line(row, cells) {
  const found = sync(row, cells.length, makeCell);
  cells.forEach((cell, at) => dress(found[at], cell));
}

function tableCell(axis, o, i, t, r, c) {
  if (t === undefined) return { kind: "empty", r, c, sel: onAxis("output", o), text: "0", label: T("cell_table_zero", { o, i }) };
  return {
    kind: "tap", r, c, sel: { ...onAxis("tap", t), input: i, output: o }, text: `w${t}`,
    phase: phaseOnAxis(residueOfTap(axis, t), axis.s), label: T("cell_table", { o, i, t }),
  };
}

function markTable(view, sel) {
  const shownInputs = inputsIn(view.model.axis, view.model);
  for (const row of view.rows.children) {
    const [head, ...cells] = row.children;
    const output = head.sel?.kind === "output" ? head.sel.at : null;
    markCell(head, sel?.kind === "output" && output === sel.at ? "chosen" : "");
    cells.forEach((cell, column) => {
      const lit = (sel?.kind === "output" && output === sel.at)
        || (sel?.kind === "input" && shownInputs[column] === sel.at)
        || (sel?.kind === "tap" && cell.sel.kind === "tap" && cell.sel.at === sel.at);
      const header = output === null;
      markCell(cell, lit ? (header ? "chosen" : "partner") : "");
    });
  }
}
