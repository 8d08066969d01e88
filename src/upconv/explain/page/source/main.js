// The page as a whole: it keeps the state, draws what changed, and writes the link.

const LINK_DELAY = 300;
const PANELS = ["size", "artefacts", "channels", "solver", "code"];
const windows = ["first", "first"];

// What is drawn of a layer that can be: its axes, its numbers, and the windows that are shown.
function modelOf(layer) {
  const [high, wide] = [axisAt(layer, 0), axisAt(layer, 1)];
  return {
    h: high, w: wide, rows: windowOf(high, windows[0]), columns: windowOf(wide, windows[1]),
    x: valuesOf(layer.x, high.n, wide.n, INPUT_PATTERN), kernel: valuesOf(layer.w, high.k, wide.k, KERNEL_PATTERN),
  };
}

function begin() {
  const root = document.documentElement;
  const asked = navigator.languages?.some((language) => language.toLowerCase().startsWith("ko")) && !root.dataset.start;
  app.lang = root.lang === "ko" || asked ? "ko" : "en";
  arrive(location.hash.length > 1 ? location.hash : root.dataset.start, app.lang);
  build();
  addEventListener("beforeprint", () => [...sight.waiting].forEach(drawWaiting));
  addEventListener("popstate", () => {
    arrive(location.hash, app.state.lang);
    render();
  });
  addEventListener("hashchange", () => {
    if (location.hash === (app.link ?? "")) return;
    arrive(location.hash, app.state.lang);
    render();
  });
  matchMedia("(min-width: 900px)").addEventListener("change", render);
}

// The state of a link; of a large map, the part in which its selection lies.
function arrive(link, lang) {
  app.state = stateOf(link, lang);
  const { sel, layer } = app.state;
  [sel?.row, sel?.column].forEach((at, axis) => {
    const isFar = at !== undefined && sel.kind !== "tap" && !refusalsAt(layer).length;
    windows[axis] = isFar ? partOf(axisAt(layer, axis), sel.kind, at) : "first";
  });
}

// The first, the middle or the last part if one of them shows the place, else the part around it.
function partOf(axis, kind, at) {
  const o = kind === "input" ? outputOf(axis, at, 0) + Math.floor(axis.reach / 2) : at;
  const shows = (where) => {
    const { start, stop } = windowOf(axis, where);
    return o + axis.lo >= start && o + axis.lo < stop;
  };
  return ["first", "middle", "last"].find(shows) ?? o;
}

function dispatch(action) {
  const before = app.state;
  app.state = reduce(before, action);
  if (action.type === "select") {
    if (app.state.sel !== before.sel) markAll();
    if (action.pin) writeLink();
    return;
  }
  if (action.type === "door" || action.type === "load") windows.fill("first");
  render();
  if (action.push) pushLink();
  else writeLink();
  if (action.type === "door") enterDoor();
}

function enterDoor() {
  scrollTo(0, 0);
  app.page.main.querySelector("section:not([hidden]) h1")?.focus({ preventScroll: true });
}

function writeLink() {
  clearTimeout(app.linkTimer);
  app.linkTimer = setTimeout(() => setLink("replaceState"), LINK_DELAY);
}

// Loading another layer is a step that Back undoes; what was there before it is written down first.
function pushLink() {
  clearTimeout(app.linkTimer);
  setLink("pushState");
}

function setLink(how) {
  app.link = linkOf(app.state);
  if (app.link !== (location.hash || "#")) history[how](null, "", app.link);
}

// Everything anew: at the beginning, and when the language changes.
function build() {
  app.built = app.state.lang;
  document.documentElement.lang = app.state.lang;
  document.title = T("document_title");
  voice.el = h("div", { class: "hidden", role: "status", "aria-live": "polite", "aria-atomic": "true" });
  const page = { header: makeHeader(dispatch), notices: makeNotices(), parts: {} };
  page.main = h("main", { id: "main" }, page.notices.el);
  app.page = page;
  const skip = h("a", { href: "#main", class: "skip", text: T("skip"), onclick: (event) => {
    event.preventDefault();
    page.main.querySelector("section:not([hidden]) [tabindex='0'], section:not([hidden]) input")?.focus();
  } });
  document.body.replaceChildren(skip, page.header.el, page.main, h("footer", {}, paragraph(T("footer"))), voice.el);
  render();
}

// Explore, Fix and Port are one laboratory of which each shows its part.
function makeLab() {
  const lab = { controls: makeControls(dispatch), equation: makeEquation(editValue), maps: makeMaps(chooseCell, editValue) };
  lab.title = h("h1", { tabindex: "-1" });
  lab.lead = h("p", { class: "lead" });
  lab.tag = h("p", { class: "stale", hidden: true, });
  lab.link = copyButton(T("copy_link"), () => new URL(linkOf(app.state), location.href).href);
  lab.views = makeViews();
  lab.tabs = makeTabs(PANELS.map((name) => [name, T(`panel_${name}`)]), T("panels"), () => render());
  const made = { size: makeSizeLine(dispatch), artefacts: makeArtefacts(dispatch), channels: makeChannels(), solver: makeSolver(dispatch), code: makeCode() };
  PANELS.forEach((name) => lab.tabs.panel(name).append(h("h2", { class: "paneltitle", text: T(`panel_${name}`) }), made[name].el));
  lab.panels = made;
  lab.drawing = h("div", { class: "drawing" }, lab.tag, lab.maps.el, lab.views.el);
  lab.el = h("section", { class: "lab" }, h("div", { class: "rowof ends" }, lab.title, h("span", { class: "copy" }, lab.link)), lab.lead, lab.controls.el, lab.equation.el,
    lab.drawing, lab.tabs.el, lab.tabs.panels);
  VIEWS.forEach((name) => watch(lab.views.tabs.panel(name)));
  lab.tabs.sections.forEach(watch);
  lab.draw = (state) => drawLab(lab, state);
  return lab;
}

// The four views of one axis. On a wide page all stand beside each other; on a narrow one they are tabs.
function makeViews() {
  const hooks = { choose: chooseOnAxis, drag: dragBoundary };
  const made = { a: makeStrip(T("view_a"), hooks), b: makeRead(T("view_b"), hooks), c: makePhases(chooseOnAxis), d: makeTable(T("view_d"), hooks) };
  const along = h("div", { class: "rowof segmented", role: "group", "aria-label": T("along") }, ["columns", "rows"].map((name) => h("button", {
    type: "button", "data-along": name, text: T(`along_${name}`), onclick: () => dispatch({ type: "patch", patch: { along: name, sel: null } }),
  })));
  const tabs = makeTabs(VIEWS.map((name) => [name, T(`tab_${name}`)]), T("views"), (view) => dispatch({ type: "patch", patch: { view } }));
  VIEWS.forEach((name) => tabs.panel(name).append(h("h3", { text: T(`view_${name}`) }), paragraph(T(`view_${name}_says`), { class: "muted" }), h("div", { class: name === "c" ? "" : "scroll" }, made[name].el)));
  tabs.panels.classList.add("views");
  return { el: h("div", { class: "viewbox" }, h("div", { class: "rowof ends" }, h("h2", { text: T("one_axis") }), along), tabs.el, tabs.panels), made, tabs, along };
}

function render() {
  const { state } = app;
  if (app.built !== state.lang) return build();
  const { page } = app;
  page.header.draw(state);
  page.notices.draw(state);
  if (state.door !== "learn") stopPlaying();
  const name = ["home", "learn"].includes(state.door) ? state.door : "lab";
  // Each part is made when it is first asked for.
  if (!page.parts[name]) {
    page.parts[name] = MAKERS[name](dispatch);
    page.main.append(page.parts[name].el);
  }
  for (const [each, part] of Object.entries(page.parts)) part.el.hidden = each !== name;
  page.parts[name].draw(state);
}

const MAKERS = { home: makeHome, learn: makeLearn, lab: makeLab };

function drawLab(lab, state) {
  const refusals = refusalsAt(state.layer);
  if (!refusals.length) app.legal = state.layer;
  const first = !app.legal;
  if (first) app.legal = mended(state.layer);
  if (first || !refusals.length) setText(lab.tag, T(refusals.length ? "nearest_legal" : "last_legal"));
  const { door } = state;
  setText(lab.title, T(`title_${door}`));
  setText(lab.lead, T(`lead_${door}`));
  lab.el.dataset.shows = door;
  lab.controls.draw(state, refusals);
  lab.tag.hidden = !refusals.length;
  lab.drawing.classList.toggle("dimmed", refusals.length > 0);
  lab.model = modelOf(app.legal);
  lab.equation.el.hidden = lab.drawing.hidden = lab.tabs.el.hidden = door !== "explore";
  if (door === "explore") drawMapsAndViews(lab, state);
  drawPanels(lab, state, refusals);
  markAll();
}

function drawMapsAndViews(lab, state) {
  lab.maps.draw(lab.model);
  drawParts(lab.maps.output, lab.model);
  const { model } = lab;
  const columns = state.along === "columns";
  const axis = columns ? model.w : model.h;
  const shownPart = columns ? model.columns : model.rows;
  const outputs = range(Math.max(0, shownPart.start - axis.lo), Math.min(axis.out, shownPart.stop - axis.lo));
  const wide = matchMedia("(min-width: 900px)").matches;
  lab.views.tabs.el.hidden = wide;
  lab.views.tabs.select(state.view);
  const whole = { axis, inputs: null, taps: null, stamps: Infinity, outputs, ...shownPart };
  for (const name of VIEWS) {
    const panel = lab.views.tabs.panel(name);
    if (wide) panel.hidden = false;
    attr(panel, "role", wide ? "group" : "tabpanel");
    if (!panel.hidden) drawSoon(panel, () => drawView(lab, name, whole));
  }
  for (const button of lab.views.along.children) attr(button, "aria-pressed", String(button.dataset.along === state.along));
}

function drawView(lab, name, model) {
  lab.views.made[name].draw(model);
  markView(lab, name, flatSelection(lab));
}

// Of a large map the first, the middle or the last part: a row of buttons for each axis that is not whole.
function drawParts(output, model) {
  const rows = [["rows", 0, model.rows], ["columns", 1, model.columns]].filter(([, , part]) => !part.whole);
  replace(output.parts, rows.map(([name, axis]) => h("div", { class: "rowof segmented", role: "group", "aria-label": T(`part_${name}`) },
    h("span", { class: "muted", text: T(`part_${name}`) }), ["first", "middle", "last"].map((where) => h("button", {
      type: "button", "aria-pressed": String(windows[axis] === where), text: T(`part_${where}`), onclick: () => {
        windows[axis] = where;
        render();
      },
    })))));
}

function drawPanels(lab, state, refusals) {
  const shownPanels = { explore: [lab.tabs.current()], fix: ["solver", "size"], port: ["code"] }[state.door];
  for (const name of PANELS) {
    const panel = lab.tabs.panel(name);
    panel.hidden = !shownPanels.includes(name);
    attr(panel, "role", state.door === "explore" ? "tabpanel" : "group");
  }
  const { legal } = app;
  const draws = {
    size: () => lab.panels.size.draw(state, legal, refusals),
    artefacts: () => lab.panels.artefacts.draw(lab.model, legal),
    channels: () => lab.panels.channels.draw({ ci: legal.ci, co: legal.co, g: legal.g, k: legal.k }),
    solver: () => lab.panels.solver.draw(state, legal),
    code: () => lab.panels.code.draw(legal, lab.model.h, lab.model.w),
  };
  for (const name of shownPanels) drawSoon(lab.tabs.panel(name), draws[name]);
}

// The selection in every picture at once; nothing is rebuilt.
function markAll() {
  const { lab } = app.page.parts;
  const { state } = app;
  if (state.door !== "explore") return;
  const sel = validSelection(state.sel, lab.model);
  lab.el.classList.toggle("pinned", Boolean(sel?.pinned));
  lab.maps.mark(sel, lab.model);
  const flat = flatSelection(lab);
  for (const name of VIEWS) markView(lab, name, flat);
  lab.equation.draw(state, lab.model);
}

function flatSelection(lab) {
  const sel = validSelection(app.state.sel, lab.model);
  return sel && onAxis(sel.kind, app.state.along === "columns" ? sel.column : sel.row);
}

// A view that waits to be drawn is marked then.
function markView(lab, name, flat) {
  const panel = lab.views.tabs.panel(name);
  if (!panel.hidden && !panel.waiting && lab.views.made[name].model) lab.views.made[name].mark(flat);
}

// Hover and focus look, click and Enter pin, Esc frees; while something is pinned, looking changes nothing.
function chooseCell(sel, how) {
  const { state } = app;
  if (how === "free") return dispatch({ type: "select", sel: null, pin: true });
  if (how === "pin") return sel && dispatch({ type: "select", sel: { ...sel, pinned: true }, pin: true });
  if (!state.sel?.pinned) dispatch({ type: "select", sel: sel && { ...sel, pinned: false } });
}

// A choice on one axis keeps the other coordinate of what was chosen before.
function chooseOnAxis(sel, how) {
  if (!sel || !["input", "tap", "output"].includes(sel.kind)) return chooseCell(null, how === "pin" ? "leave" : how);
  const { state } = app;
  const old = state.sel?.kind === sel.kind ? state.sel : { row: 0, column: 0 };
  const place = state.along === "columns" ? { row: old.row, column: sel.at } : { row: sel.at, column: old.column };
  chooseCell({ kind: sel.kind, ...place }, how);
}

function editValue(name, row, column, value) {
  dispatch({ type: "value", name, row, column, value });
}

function dragBoundary(side) {
  const axis = app.state.along === "columns" ? 1 : 0;
  const { s, p, op, crops } = settingAt(app.legal, axis);
  return (cells) => {
    if (crops && side !== "s") return;
    const patch = { s: { s: s + cells }, lo: { p: p + cells }, hi: { op: op + cells } }[side];
    dispatch({ type: "set", patch, axis: app.state.square ? null : axis });
  };
}

if (typeof document === "object") begin();
