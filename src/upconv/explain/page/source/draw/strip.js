// One axis as it is written: inputs, a stamp under each, and the canvas on which they add up, cut by two blades.

// What choosing a cell of the strip chooses: kinds and places on one axis.
const onAxis = (kind, at) => ({ kind, at });

function makeStrip(label, hooks) {
  const el = h("div", { class: "strip", "aria-label": label });
  const track = h("div", { class: "track", role: "presentation" });
  const blades = ["lo", "hi"].map((side) => h("div", { class: `blade ${side}`, "aria-hidden": "true" }));
  const rows = h("div", { role: "rowgroup" });
  track.append(rows, ...blades);
  el.append(track);
  walkable(el, hooks);
  const strip = { el, rows, blades, model: null };
  if (hooks.drag) makeHandles(strip, hooks.drag);
  strip.draw = (model) => drawStrip(strip, model);
  strip.mark = (sel) => markStrip(strip, sel);
  return strip;
}

// The kernel as it is, above its stamps: a tap has the colour of the cells that it reaches.
function makeKernelLine() {
  const taps = h("span", { class: "taps" });
  const el = h("p", { class: "kernelline" }, h("span", { class: "head", text: T("row_kernel") }), taps);
  const draw = ({ axis, taps: values }) => replace(taps, values.map((value, t) =>
    h("span", { class: `chip tap ${phaseOnAxis(residueOfTap(axis, t), axis.s).colour}`, text: shown(value) })));
  return { el, draw };
}

// How wide a cell is now: as many as there are share the room that there is.
function cellWidth(el) {
  return el.querySelector(".cell")?.getBoundingClientRect().width || 44;
}

function makeRow() {
  const row = h("div", { role: "row", class: "row" });
  row.append(h("div", { role: "rowheader", class: "head" }), h("div", { class: "lane", role: "presentation" }));
  return row;
}

// `model` is {axis, inputs, taps, stamps, start, stop}: numbers or, where they are null, names; only the first `stamps`
// inputs have written so far; positions start..stop - 1 are shown.
function drawStrip(strip, model) {
  const { axis, start, stop } = model;
  strip.model = model;
  const shownInputs = inputsIn(axis, model);
  const rows = sync(strip.rows, shownInputs.length + 2, makeRow);
  setVar(strip.el, "--columns", stop - start);
  drawInputs(rows[0], model, shownInputs);
  shownInputs.forEach((i, at) => drawStamp(rows[at + 1], model, i, at + 1));
  drawCanvas(rows[rows.length - 1], model, rows.length - 1);
  placeBlades(strip, axis, start, stop);
  settle(strip.el);
}

function fill(row, head, cells) {
  setText(row.firstChild, head);
  const found = sync(row.lastChild, cells.length, makeCell);
  cells.forEach((cell, at) => dress(found[at], cell));
}

function drawInputs(row, { axis, inputs, start, stop }, shownInputs) {
  row.className = "row inputs";
  const cells = shownInputs
    .map((i) => ({
      kind: "input", r: 0, c: i * axis.s - start, at: i * axis.s - start, sel: onAxis("input", i),
      text: inputs ? shown(inputs[i]) : `x${i}`,
      sub: inputs ? `x${i}` : null,
      label: T("cell_input_1d", { i, value: inputs ? inputs[i] : null }),
    }))
    .filter(({ at }) => at >= 0 && at < stop - start);
  fill(row, T("row_inputs"), cells);
}

function drawStamp(row, model, i, r) {
  const { axis, inputs, taps, start, stop, stamps } = model;
  row.className = i >= stamps ? "row stamp waiting" : "row stamp";
  const cells = range(0, axis.k)
    .map((t) => {
      const at = outputOf(axis, i, t) + axis.lo - start;
      const kind = kindAt(axis, at + start);
      const phase = phaseOnAxis(residueOfTap(axis, t), axis.s);
      const value = inputs ? inputs[i] * taps[t] : null;
      return {
        kind: `tap ${kind === "cut" ? "cut" : ""}`, r, c: at, at, phase, sel: { ...onAxis("tap", t), input: i },
        text: inputs ? shown(value) : `w${t}`,
        label: T("cell_stamp", { i, t, value, o: at + start - axis.lo, kind }),
      };
    })
    .filter(({ at }) => at >= 0 && at < stop - start);
  fill(row, `x${i}`, cells);
}

function drawCanvas(row, { axis, inputs, taps, start, stop, stamps }, r) {
  row.className = "row canvas";
  const written = inputs && stampedRow(makeAxis(axis.n, axis.k, axis.s, axis.d), inputs.map((x, i) => (i < stamps ? x : 0)), taps);
  const cells = range(start, stop).map((q) => {
    const kind = kindAt(axis, q);
    const o = q - axis.lo;
    const phase = kind === "output" ? phaseOnAxis(mod(q, axis.s), axis.s) : null;
    const value = inputs ? written[q] ?? 0 : null;
    const count = kind === "output" ? pairsOf(axis, o).length : 0;
    return {
      kind: `out ${kind}${kind === "output" && !count ? " hole" : ""}`, r, c: q - start, at: q - start, phase,
      sel: kind === "cut" ? onAxis("cut", q) : onAxis("output", o),
      text: inputs ? shown(value) : kind === "cut" ? "" : `y${o}`,
      sub: kind === "cut" || !inputs ? null : `y${o}`,
      label: T("cell_canvas", { o, q, value, kind, count }),
    };
  });
  fill(row, T("row_canvas"), cells);
}

function placeBlades(strip, axis, start, stop) {
  const [lo, hi] = strip.blades;
  const places = [axis.lo - start, axis.lo + axis.out - start];
  [lo, hi].forEach((blade, at) => {
    setVar(blade, "--at", places[at]);
    blade.hidden = places[at] < 0 || places[at] > stop - start;
    blade.classList.toggle("idle", at === 0 ? axis.lo === 0 : axis.hi === 0);
  });
}

// Stamps are pulled apart by any but the first, which is the stride; the blades pull padding and output_padding.
function makeHandles(strip, drag) {
  const width = () => cellWidth(strip.el);
  strip.blades.forEach((blade, side) => draggable(blade, width, () => drag(side ? "hi" : "lo")));
  draggable(strip.rows, width, (target) => {
    const stamp = target.closest(".row.stamp .cell")?.sel.input;
    const step = stamp && drag("s");
    return step && ((cells) => step(Math.round(cells / stamp)));
  });
}

// Which cells belong to a selection on this axis.
function markStrip(strip, sel) {
  const { axis } = strip.model;
  for (const row of strip.rows.children) {
    for (const cell of row.lastChild.children) markCell(cell, sel ? stripRole(axis, sel, cell.sel) : "");
  }
}

function stripRole(axis, sel, own) {
  const reached = own.kind === "tap" ? outputOf(axis, own.input, own.at) : null;
  if (sel.kind === "output") {
    if (own.kind === "output") return own.at === sel.at ? "chosen" : "";
    if (own.kind === "tap") return reached === sel.at ? "partner" : "";
    return own.kind === "input" && pairsOf(axis, sel.at).some(([i]) => i === own.at) ? "partner" : "";
  }
  if (sel.kind === "input") {
    if (own.kind === "input") return own.at === sel.at ? "chosen" : "";
    if (own.kind === "tap") return own.input === sel.at ? "partner" : "";
    return own.kind === "output" && stampOf(axis, sel.at).some(([o]) => o === own.at) ? "partner" : "";
  }
  if (sel.kind === "tap") {
    if (own.kind === "tap") return own.at === sel.at ? "chosen" : "";
    return own.kind === "output" && tapPairs(axis, sel.at).some(([o]) => o === own.at) ? "partner" : "";
  }
  return "";
}
