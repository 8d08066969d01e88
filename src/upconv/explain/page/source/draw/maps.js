// The layer in two dimensions: input, kernel, and the output on its canvas. Partners of a selection carry one number.

const MOST_NUMBERED = 9;
// A map of more columns has smaller cells where there is room for all.
const DENSE = 11;

function makeMap(key, hooks) {
  const grid = h("div", { class: `map ${key}`, "aria-label": T(`map_${key}`) });
  walkable(grid, hooks);
  const note = h("p", { class: "muted note" });
  const parts = h("div", { class: "parts" });
  const el = h("figure", { class: `figure ${key}` }, h("figcaption", { text: T(`map_${key}`) }), h("div", { class: "scroll" }, grid), note, parts);
  return { el, grid, note, parts, cells: new Map() };
}

function makeMaps(choose, edit) {
  const type = (name) => (event, cell) => typeValue(event, cell, name, edit);
  const input = makeMap("input", { choose, type: type("x") });
  const kernel = makeMap("kernel", { choose, type: type("w") });
  const output = makeMap("output", { choose });
  const sign = (text) => h("span", { class: "sign", "aria-hidden": "true", text });
  const el = h("div", { class: "maps" }, input.el, sign("×"), kernel.el, sign("→"), output.el);
  return { el, input, kernel, output, draw: (model) => drawMaps({ input, kernel, output }, model), mark: (sel, model) => markMaps({ input, kernel, output }, sel, model) };
}

// A digit writes a value, a minus turns its sign; for those with a keyboard.
function typeValue(event, cell, name, edit) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (/^[0-9]$/.test(event.key)) edit(name, cell.r0, cell.c0, Number(event.key));
  else if (event.key === "-") edit(name, cell.r0, cell.c0, -cell.value);
  else return false;
  return true;
}

// `model`: {h, w, x, kernel, rows, columns}: axes, whole maps of numbers, and the windows of canvas positions shown.
function drawMaps({ input, kernel, output }, model) {
  const { h: high, w: wide, rows, columns } = model;
  const inRows = inputsIn(high, rows).slice(0, SHOWN);
  const inColumns = inputsIn(wide, columns).slice(0, SHOWN);
  const tapRows = range(0, Math.min(high.k, SHOWN));
  const tapColumns = range(0, Math.min(wide.k, SHOWN));
  drawCells(input, inRows, inColumns, (r, c) => ({
    kind: "input", text: shown(model.x[r][c]), sel: { kind: "input", row: r, column: c }, value: model.x[r][c],
    label: T("cell_input", { r, c, value: model.x[r][c] }),
  }));
  drawCells(kernel, tapRows, tapColumns, (t, u) => ({
    kind: "tap", text: shown(model.kernel[t][u]), sel: { kind: "tap", row: t, column: u }, value: model.kernel[t][u],
    phase: phaseOf(residueOfTap(high, t), residueOfTap(wide, u), high.s, wide.s),
    label: T("cell_tap", { r: t, c: u, value: model.kernel[t][u] }),
  }));
  drawOutput(output, model);
  setText(input.note, partNote(inRows, high.n, inColumns, wide.n));
  setText(kernel.note, partNote(tapRows, high.k, tapColumns, wide.k));
}

function partNote(rows, allRows, columns, allColumns) {
  const whole = rows.length === allRows && columns.length === allColumns;
  return whole ? `${allRows} × ${allColumns}` : T("part_shown", { rows, columns, allRows, allColumns });
}

function drawCells(map, rows, columns, describe) {
  const lines = sync(map.grid, rows.length, () => h("div", { role: "row", class: "maprow" }));
  map.grid.classList.toggle("dense", columns.length > DENSE);
  map.cells.clear();
  rows.forEach((row, r) => {
    const cells = sync(lines[r], columns.length, makeCell);
    columns.forEach((column, c) => {
      const found = describe(row, column);
      dress(cells[c], { ...found, r, c });
      Object.assign(cells[c], { r0: row, c0: column, value: found.value });
      map.cells.set(`${row},${column}`, cells[c]);
    });
  });
  settle(map.grid);
}

function drawOutput(output, { h: high, w: wide, x, kernel, rows, columns }) {
  const uncut = [high, wide].map((axis) => makeAxis(axis.n, axis.k, axis.s, axis.d));
  const pairs = [rows, columns].map(({ start, stop }, at) => new Map(range(start, stop).map((q) => [q, pairsOf(uncut[at], q)])));
  drawCells(output, range(rows.start, rows.stop), range(columns.start, columns.stop), (qr, qc) => {
    const kinds = [kindAt(high, qr), kindAt(wide, qc)];
    const kind = ["cut", "beyond"].find((each) => kinds.includes(each)) ?? "output";
    const [inRow, inColumn] = [pairs[0].get(qr), pairs[1].get(qc)];
    let value = 0;
    for (const [i, t] of inRow) for (const [j, u] of inColumn) value += x[i][j] * kernel[t][u];
    const count = inRow.length * inColumn.length;
    const [r, c] = [qr - high.lo, qc - wide.lo];
    return {
      kind: `out ${kind}${kind === "output" && !count ? " hole" : ""}`, text: shown(value),
      sel: kind === "cut" ? null : { kind: "output", row: r, column: c },
      phase: kind === "output" ? phaseOf(mod(qr, high.s), mod(qc, wide.s), high.s, wide.s) : null,
      label: T("cell_output", { r, c, value, count, kind }),
    };
  });
  setText(output.note, partNote(range(rows.start, rows.stop).filter((q) => kindAt(high, q) !== "cut"), high.out,
    range(columns.start, columns.stop).filter((q) => kindAt(wide, q) !== "cut"), wide.out));
}

// Roles of cells in a selection: a Map from the key of a cell to [role, number] for each of the three maps.
function rolesOf(sel, { h: high, w: wide }) {
  const roles = { input: new Map(), kernel: new Map(), output: new Map() };
  if (!sel) return roles;
  const outputKey = (r, c) => `${r + high.lo},${c + wide.lo}`;
  const pairUp = (rowPairs, columnPairs, add) => {
    const numbered = rowPairs.length * columnPairs.length <= MOST_NUMBERED;
    let number = 0;
    for (const a of rowPairs) for (const b of columnPairs) add(a, b, numbered ? ++number : null);
  };
  if (sel.kind === "output") {
    roles.output.set(outputKey(sel.row, sel.column), ["chosen"]);
    pairUp(pairsOf(high, sel.row).reverse(), pairsOf(wide, sel.column).reverse(), ([i, t], [j, u], number) => {
      roles.input.set(`${i},${j}`, ["partner", number]);
      roles.kernel.set(`${t},${u}`, ["partner", number]);
    });
  } else if (sel.kind === "input") {
    roles.input.set(`${sel.row},${sel.column}`, ["chosen"]);
    pairUp(stampOf(high, sel.row), stampOf(wide, sel.column), ([r, t], [c, u], number) => {
      roles.output.set(outputKey(r, c), ["partner", number]);
      roles.kernel.set(`${t},${u}`, ["partner", number]);
    });
  } else {
    roles.kernel.set(`${sel.row},${sel.column}`, ["chosen"]);
    pairUp(tapPairs(high, sel.row), tapPairs(wide, sel.column), ([r, i], [c, j], number) => {
      roles.output.set(outputKey(r, c), ["partner", number]);
      roles.input.set(`${i},${j}`, ["partner", number]);
    });
  }
  return roles;
}

function markMaps(maps, sel, model) {
  const roles = rolesOf(sel, model);
  for (const name of ["input", "kernel", "output"]) {
    for (const [key, cell] of maps[name].cells) {
      const [role, number] = roles[name].get(key) ?? [""];
      markCell(cell, role, number);
    }
  }
}
