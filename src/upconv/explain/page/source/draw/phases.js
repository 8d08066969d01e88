// An axis as the small ordinary convolutions that it consists of: a table, one row for each phase.

const PHASES_SHOWN = 8;

function makePhases(choose) {
  const body = h("tbody");
  const more = h("p", { class: "muted" });
  const titles = ["phase", "small_kernel", "phase_outputs", "phase_sum"];
  const el = h("div", { class: "phases" },
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": T("view_c") },
      h("table", {}, h("thead", {}, h("tr", {}, titles.map((key) => h("th", { scope: "col", text: T(key) })))), body)), more);
  const view = { el, body, more, model: null };
  view.draw = (model) => drawPhases(view, model, choose);
  view.mark = (sel) => markPhases(view, sel);
  return view;
}

function drawPhases(view, { axis }, choose) {
  view.model = { axis };
  const found = phasesOf(axis, PHASES_SHOWN);
  view.phases = found;
  replace(view.body, found.map((phase) => phaseRow(axis, phase, choose)));
  const hidden = Math.min(axis.s, axis.out) - found.length;
  setText(view.more, hidden > 0 ? T("phases_more", { hidden }) : "");
}

function phaseRow(axis, phase, choose) {
  const colour = phaseOnAxis(phase.residue, axis.s);
  const chip = h("span", { class: `chip ${colour.colour}`, text: colour.letter });
  const kernel = h("span", { class: "taps" }, [...phase.taps].reverse().map((t) => {
    const tap = h("span", { class: `chip tap ${colour.colour}`, text: `w${t}` });
    tap.tap = t;
    return tap;
  }));
  const outputs = range(0, phase.count).map((step) => phase.start + step * axis.s);
  const names = outputs.length > 4 ? [outputs[0], outputs[1], "…", outputs[outputs.length - 1]] : outputs;
  const middle = outputs[Math.floor((outputs.length - 1) / 2)];
  const buttons = names.map((o) => (o === "…" ? "…" : h("button", {
    type: "button", class: "link", text: `y${o}`, onclick: () => choose(onAxis("output", o), "pin"), onpointerenter: () => choose(onAxis("output", o), "look"),
  })));
  return h("tr", {},
    h("th", { scope: "row", class: "nowrap" }, chip, " ", h("span", { class: "muted", text: T("remainder", { r: phase.residue, s: axis.s }) })),
    h("td", {}, phase.taps.length ? kernel : T("no_taps")),
    h("td", { class: "mono" }, buttons.flatMap((each, at) => (at ? [" ", each] : [each]))),
    h("td", { class: "mono nowrap", text: `y${middle} = ${sumInNames(axis, middle)}` }));
}

function sumInNames(axis, o, most = 4) {
  const met = pairsOf(axis, o).reverse();
  if (!met.length) return T("bias_alone");
  const terms = met.slice(0, most).map(([i, t]) => `x${i}·w${t}`);
  return terms.join(" + ") + (met.length > most ? " + …" : "");
}

// The phase of the selection: of an output the one that it lies in, of a tap the one that owns it.
function markPhases(view, sel) {
  const { axis } = view.model;
  let residue = null;
  if (sel?.kind === "output") residue = residueOf(axis, sel.at);
  if (sel?.kind === "tap") residue = residueOfTap(axis, sel.at);
  const met = sel?.kind === "output" ? pairsOf(axis, sel.at).map(([, t]) => t) : sel?.kind === "tap" ? [sel.at] : [];
  view.phases.forEach((phase, at) => {
    const row = view.body.children[at];
    row.classList.toggle("chosen", phase.residue === residue || sel?.kind === "input");
    for (const tap of row.querySelectorAll(".taps .tap")) tap.classList.toggle("partner", met.includes(tap.tap));
    const last = row.lastChild;
    const own = phase.residue === residue && sel.kind === "output" ? sel.at : null;
    if (own !== null) setText(last, `y${own} = ${sumInNames(axis, own)}`);
  });
}
