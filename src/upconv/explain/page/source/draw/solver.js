// Fix a size: the smallest change to this layer that gives the size, then what `upconv solve` would list.

const LISTED = 12;

function makeSolver(dispatch) {
  const boxes = ["want_h", "want_w"].map((key, at) => {
    const input = h("input", { type: "number", step: "1", id: at ? "box-want-w" : "box-want", "aria-label": T(key) });
    input.addEventListener("input", () => {
      if (!/^\d{1,4}$/.test(input.value)) return;
      const value = Number(input.value);
      const want = app.state.square ? [value, value] : wantedOf(app.state, app.legal).map((old, axis) => (axis === at ? value : old));
      dispatch({ type: "patch", patch: { want } });
    });
    return input;
  });
  const keeps = ["k", "s", "p", "op", "d"].map((name) => {
    const box = h("input", { type: "checkbox", onchange: () => {
      const keep = ["k", "s", "p", "op", "d"].filter((each) => (each === name ? box.checked : app.state.keep.includes(each)));
      dispatch({ type: "patch", patch: { keep } });
    } });
    return { name, box, el: h("label", { class: "check" }, box, T(`name_${name}`)) };
  });
  const nearestBox = h("div", { class: "least" });
  const list = h("div");
  const el = h("div", { class: "solver" },
    h("div", { class: "rowof" }, h("label", { for: "box-want" }, h("strong", { text: T("want") })), boxes,
      h("fieldset", { class: "keeps" }, h("legend", { text: T("keep") }), keeps.map((keep) => keep.el))),
    nearestBox, list);
  const draw = (state, legal) => {
    const want = wantedOf(state, legal);
    boxes.forEach((box, at) => {
      if (document.activeElement !== box) box.value = want[at];
      box.hidden = at === 1 && state.square;
    });
    for (const keep of keeps) keep.box.checked = state.keep.includes(keep.name);
    drawSolutions(nearestBox, list, state, legal, dispatch);
  };
  return { el, draw };
}

function drawSolutions(nearestBox, list, state, legal, dispatch) {
  const sizes = wantedOf(state, legal).map((want, axis) => [legal.n[axis], want]);
  const settings = [0, 1].map((axis) => settingOf(axisAt(legal, axis)));
  const key = JSON.stringify([sizes, legal, state.keep, state.lang]);
  if (list.key === key) return;
  list.key = key;
  const square = String(sizes[0]) === String(sizes[1]) && state.square;
  replace(nearestBox, (square ? [0] : [0, 1]).flatMap((axis) => leastChange(axis, square, sizes, settings, state, legal, dispatch)));
  const fixed = Object.fromEntries(state.keep.map((name) => [name, legal[name][0]]));
  replace(list, solutionsFor(sizes, fixed).map((answer) => solutionTable(answer, square || answer.axis !== null, dispatch)));
}

function leastChange(axis, square, sizes, settings, state, legal, dispatch) {
  const [n, want] = sizes[axis];
  const setting = settings[axis];
  const out = axisAt(legal, axis).out;
  const lead = square ? "" : `${T(axis ? "axis_width" : "axis_height")}: `;
  if (out === want) return [paragraph(lead + T("already", { n, out }), { class: "good" })];
  const from = setting ?? settingOf(makeAxis(n, legal.k[axis], legal.s[axis], legal.d[axis]));
  const other = nearest(from, n, want);
  if (!other) return [paragraph(lead + T("want_at_least_one"))];
  const changes = ["k", "s", "p", "op", "d"].filter((name) => other[name] !== from[name]).map((name) => `${T(`name_${name}`)} ${from[name]} → ${other[name]}`);
  const use = () => dispatch({ type: "set", patch: { ...other, crops: null }, axis: square ? null : axis, push: true });
  const why = setting && reachable(setting, n).includes(want) ? [paragraph(undoneSentence(setting, n, say())), paragraph(T("rule_output_padding"))] : [];
  return [
    paragraph(lead + T("now_and_want", { n, out, want })),
    ...why,
    h("div", { class: "rowof" }, h("strong", { text: `${T("least")}: ${changes.join(", ")}` }), h("button", { type: "button", class: "primary", text: T("use"), onclick: use })),
  ];
}

function solutionTable({ axis, sizes, found, refusal }, square, dispatch) {
  if (refusal) return paragraph(`${say().too_many(refusal)}.`);
  const title = `${axis === null ? "" : `${T(axis ? "axis_width" : "axis_height")}: `}${T("solutions", { from: sizes.map(([n]) => n), to: sizes.map(([, out]) => out), count: found.length })}`;
  const alternate = !found.length && nearest({ k: 3, s: 1, p: 0, op: 0, d: 1 }, ...sizes[0]);
  if (!found.length) return h("div", {}, h("h3", { text: title }), paragraph(alternate ? T("beyond_that", { other: settingArguments(alternate) }) : T("want_at_least_one")));
  const rows = found.slice(0, LISTED).map((setting) => {
    const row = solutionRow(setting, sizes, square && axis === null);
    const use = () => dispatch({ type: "set", patch: { ...setting, crops: null }, axis: axis === null ? null : axis, push: true });
    return h("tr", {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "link mono", text: settingArguments(setting), onclick: use })),
      h("td", { text: say().remark(row) }), h("td", { class: "mono end", text: row.products.toLocaleString("en-US") }), h("td", { text: say().undone(row.undone) }));
  });
  const heads = ["setting", "overlap", "products", "undoes"].map((key) => h("th", { scope: "col", text: T(key) }));
  const more = found.length > LISTED ? [paragraph(T("solutions_more", { more: found.length - LISTED }), { class: "muted" })] : [];
  return h("div", {}, h("h3", { text: title }), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, h("table", { class: "solutions" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))), ...more, paragraph(T("undoes_note"), { class: "muted" }));
}
