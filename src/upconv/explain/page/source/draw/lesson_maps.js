// The pictures of steps 5, 7 and 8: wires that run both ways, counts and responses as lightness, channels.

const PICTURES = { stamps: stampsPicture, wires: wiresPicture, counts: countsPicture, channels: channelsPicture };
const WIRE_HEIGHT = 120;

// Step 5: the documentation's row of zeros, then the wires between 7 and 3 for padding 0.
function wiresPicture(lesson) {
  const read = makeRead(T("read_label"), { choose: (sel) => read.mark(sel) });
  const plain = torchAxis(LESSON_INPUT.length, { ...LESSON_PLAIN });
  const large = stampedRow(plain, LESSON_INPUT, LESSON_TAPS);
  const state = { large: [...large], at: null };
  const grid = h("div", { class: "strip wiring", "aria-label": T("wires_label") });
  const [top, bottom] = [makeRow(), makeRow()];
  const svg = svgElement("svg", { class: "wires", "aria-hidden": "true", height: WIRE_HEIGHT });
  grid.append(h("div", { role: "rowgroup" }, top), svg, h("div", { role: "rowgroup" }, bottom));
  walkable(grid, { choose: (sel, how) => {
    if (sel || how === "free") state.at = sel;
    light();
  }, type: (event) => nudgeKey(event) });
  const says = h("p", { class: "muted" });
  const nudge = h("span", { class: "box handle" }, h("span", { class: "tag", text: T("nudge") }),
    [[-1, "−"], [1, "+"]].map(([by, sign]) => h("button", { type: "button", class: "step", text: sign, "aria-label": T(by > 0 ? "increase" : "decrease", { name: T("nudge") }), onclick: () => change(by) })));
  const el = h("div", {}, h("div", { class: "scroll fits" }, read.el), paragraph(T("read_hint"), { class: "muted" }), paragraph(T("wires_caption")), h("div", { class: "scroll fits" }, grid), h("div", { class: "rowof" }, nudge, says));
  new ResizeObserver(() => requestAnimationFrame(() => {
    drawLines();
    light();
  })).observe(grid);

  function change(by) {
    const at = state.at?.kind === "output" ? state.at.at : 0;
    state.at = onAxis("output", at);
    state.large[at] = clamp(state.large[at] + by, -99, 99);
    drawWiring();
  }
  function nudgeKey(event) {
    if (event.key !== "+" && event.key !== "-") return false;
    change(event.key === "+" ? 1 : -1);
    return true;
  }
  const small = () => gatheredRow(plain, state.large, LESSON_TAPS);
  const middle = (i) => outputOf(plain, i, 0) + plain.reach / 2;

  function drawWiring() {
    setVar(grid, "--columns", plain.out);
    top.className = bottom.className = "row canvas";
    fill(top, T("row_large"), state.large.map((value, o) => ({
      kind: "out output", r: 0, c: o, at: o, sel: onAxis("output", o), phase: phaseOnAxis(residueOf(plain, o), plain.s), text: shown(value), sub: `y${o}`, label: T("cell_read_output", { o, value }),
    })));
    fill(bottom, T("row_small"), small().map((value, i) => ({
      kind: "input", r: 1, c: middle(i), at: middle(i), sel: onAxis("input", i), text: lesson.revealed ? shown(value) : "?", sub: `x${i}`, label: T("cell_gathered", { i, value: lesson.revealed ? value : null }),
    })));
    drawLines();
    settle(grid);
    light();
  }
  function drawLines() {
    const unit = cellWidth(grid);
    attr(svg, "width", unit * plain.out);
    const lines = range(0, plain.n).flatMap((i) => stampOf(plain, i).flatMap(([o, t]) => {
      const [x1, x2] = [(o + 0.5) * unit, (middle(i) + 0.5) * unit];
      const line = svgElement("line", { x1, y1: 2, x2, y2: WIRE_HEIGHT - 2, class: "wire" });
      const label = svgElement("text", { x: x1 + (x2 - x1) * 0.3 + 4, y: 0.3 * WIRE_HEIGHT + 4 });
      label.textContent = `·${LESSON_TAPS[t]}`;
      Object.assign(line, { i, o });
      return [line, label];
    }));
    svg.replaceChildren(...lines);
  }
  function light() {
    const sel = state.at;
    const touches = (line) => sel && (sel.kind === "output" ? line.o === sel.at : line.i === sel.at);
    for (const line of svg.querySelectorAll("line")) line.classList.toggle("lit", Boolean(touches(line)));
    for (const cell of [...top.lastChild.children, ...bottom.lastChild.children]) {
      const own = cell.sel;
      const partner = sel && own.kind !== sel.kind && [...svg.querySelectorAll("line.lit")].some((line) => (own.kind === "output" ? line.o : line.i) === own.at);
      markCell(cell, sel && own.kind === sel.kind && own.at === sel.at ? "chosen" : partner ? "partner" : "");
    }
    const reached = sel?.kind === "output" ? pairsOf(plain, sel.at) : [];
    setText(says, sel?.kind === "output" ? T("nudge_says", { o: sel.at, pairs: reached, taps: LESSON_TAPS }) : T("nudge_hint"));
  }
  const draw = () => {
    const axis = lessonAxis(lesson.values);
    read.draw({ axis, inputs: lesson.values.x, taps: LESSON_TAPS, outputs: range(0, axis.out) });
    read.mark(null);
    drawWiring();
  };
  return { el, draw };
}

// Step 7: products per output, and what a constant input becomes under weights of your choice.
function countsPicture(lesson, update) {
  const [left, right] = ["picture_counts", "picture_response"].map((key) => {
    const grid = h("div", { class: "map lightness", "aria-label": T(key) });
    walkable(grid, { choose: () => {} });
    return { el: h("figure", { class: "figure" }, h("figcaption", { text: T(key) }), h("div", { class: "scroll" }, grid)), grid, cells: new Map() };
  });
  const choice = h("select", { "aria-label": T("weights"), onchange: () => {
    lesson.values = { ...lesson.values, row: Number(choice.value) };
    update();
  } });
  const sums = h("p", { class: "muted" });
  const el = h("div", {}, h("div", { class: "maps" }, left.el, right.el), h("div", { class: "rowof" }, h("label", {}, T("weights"), " ", choice)), sums);
  right.el.hidden = true;
  const draw = () => {
    const axis = lessonAxis(lesson.values);
    const offered = rowsOfLength(axis.k);
    const place = Math.min(lesson.values.row, offered.length - 1);
    replace(choice, offered.map((row, at) => h("option", { value: String(at), selected: at === place, text: `[${row.join(", ")}] ⊗ [${row.join(", ")}]` })));
    const kernel = offered[place].map((a) => offered[place].map((b) => a * b));
    const ones = range(0, axis.n).map(() => range(0, axis.n).map(() => 1));
    drawLightness(left, countMap(axis, axis));
    right.el.hidden = choice.parentElement.hidden = !lesson.revealed;
    drawLightness(right, stampedMap(axis, axis, ones, kernel));
    const totals = phaseSums(axis, axis, kernel).map((phase) => phase.total);
    setText(sums, lesson.revealed ? T("lesson_sums", { totals, flat: new Set(totals).size === 1 }) : T("lesson_counts", { row: counts(axis) }));
  };
  return { el, draw };
}

function drawLightness(map, values) {
  const all = values.flat();
  const [least, most] = [Math.min(...all), Math.max(...all)];
  drawCells(map, range(0, values.length), range(0, values[0].length), (r, c) => ({
    kind: "light", text: shown(values[r][c]), sel: null, label: T("cell_light", { r, c, value: values[r][c] }),
  }));
  for (const [key, cell] of map.cells) {
    const [r, c] = key.split(",").map(Number);
    setVar(cell, "--l", most > least ? (values[r][c] - least) / (most - least) : 1);
  }
}

// Step 8: bundles of wires; the weight's shape is told once it has been guessed.
function channelsPicture(lesson) {
  const picture = makeChannels();
  return { el: picture.el, draw: () => picture.draw({ ...lesson.values, k: [3, 3], hideWeight: !lesson.revealed }) };
}
