// Checkerboards: how many products an output receives, what a constant input becomes, and the sums of the phases.

const KERNEL_KINDS = ["yours", "ones", "bilinear", "random"];
const PHASES_LISTED = 16;
const PIXELS = 160;

function makeArtefacts(dispatch) {
  const kind = h("select", { "aria-label": T("weights"), onchange: redraw }, KERNEL_KINDS.map((name) => h("option", { value: name, text: T(`kernel_${name}`) })));
  const layers = h("select", { "aria-label": T("layers"), onchange: redraw }, [1, 2, 3].map((count) => h("option", { value: String(count), text: T("layer_count", { count }) })));
  const verdicts = h("ul", { class: "sentences" });
  const fixes = h("div", { class: "rowof" });
  const pictures = ["counts", "response"].map((name) => makePicture(T(`picture_${name}`)));
  const body = h("tbody");
  const table = h("table", {}, h("caption", { text: T("phase_sums") }),
    h("thead", {}, h("tr", {}, ["phase", "taps", "weight_sum", "deviation"].map((key) => h("th", { scope: "col", text: T(key) })))), body);
  const judged = h("p");
  const el = h("div", { class: "artefacts" }, verdicts, fixes,
    h("div", { class: "rowof" }, h("label", {}, T("weights"), " ", kind), h("label", {}, T("layers"), " ", layers)),
    h("div", { class: "pictures" }, pictures.map((picture) => picture.el), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": T("phase_sums") }, table)), judged);
  let last = null;
  function redraw() {
    if (last) draw(...last);
  }
  function draw(model, layer) {
    last = [model, layer];
    const kernel = kernelOf(kind.value, model.h, model.w, model.kernel);
    replace(verdicts, verdictSentences(model.h, model.w, say()).map((line) => h("li", { text: line })));
    replace(fixes, fixButtons(model, dispatch));
    pictures[0].draw(countMap(model.h, model.w));
    const response = responseTo(model.h, model.w, kernel, Number(layers.value));
    pictures[1].draw(response.map);
    const sums = phaseSums(model.h, model.w, kernel);
    replace(body, sums.slice(0, PHASES_LISTED).map((phase) => sumRow(phase, model)));
    setText(judged, T("response_says", flatness(sums, response, Number(layers.value))));
  }
  return { el, draw };
}

function fixButtons({ h: high, w: wide }, dispatch) {
  return [[0, high], [1, wide]].flatMap(([at, axis]) => {
    if (at === 1 && sameAxis(high, wide)) return [];
    if (verdictOf(axis).kind === "even") return [];
    return evenAlternatives(axis).map((setting) => h("button", {
      type: "button", class: "fix", text: settingArguments(setting),
      onclick: () => dispatch({ type: "set", patch: { ...setting, crops: null }, axis: sameAxis(high, wide) ? null : at, push: true }),
    }));
  });
}

function countMap(high, wide) {
  const [rows, columns] = [high, wide].map((axis) => counts(axis, range(0, Math.min(axis.out, 96))));
  return rows.map((a) => columns.map((b) => a * b));
}

function sumRow(phase, { h: high, w: wide }) {
  const colour = phaseOf(phase.row, phase.column, high.s, wide.s);
  const chip = h("span", { class: `chip ${colour.colour}`, text: colour.letter });
  const deviation = phase.deviation === null ? "–" : Math.abs(phase.deviation) < 0.05 ? "0 %" : `${shown(Number(phase.deviation.toFixed(1)))} %`;
  return h("tr", {}, h("th", { scope: "row" }, chip), h("td", { text: String(phase.count) }), h("td", { class: "mono", text: shown(phase.total) }), h("td", { class: "mono", text: deviation }));
}

function flatness(sums, response, asked) {
  const totals = sums.map((phase) => phase.total);
  const [least, most] = [Math.min(...totals), Math.max(...totals)];
  const flat = most - least <= 1e-9 * Math.max(1, Math.abs(most));
  return { flat, least, most, layers: response.layers, asked };
}

// A map of numbers as lightness, and in words for those who do not see it.
function makePicture(title) {
  const canvas = h("canvas", { role: "img", width: String(PIXELS), height: String(PIXELS) });
  const caption = h("figcaption");
  const el = h("figure", { class: "picture" }, canvas, caption);
  return { el, draw: (map) => drawPicture(canvas, caption, title, map) };
}

function drawPicture(canvas, caption, title, map) {
  const [rows, columns] = [map.length, map[0].length];
  const size = Math.max(1, Math.floor(PIXELS / Math.max(rows, columns)));
  Object.assign(canvas, { width: columns * size, height: rows * size });
  const values = map.flat();
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  const pen = canvas.getContext("2d");
  map.forEach((row, r) => row.forEach((value, c) => {
    const share = most > least ? (value - least) / (most - least) : 1;
    pen.fillStyle = `hsl(0 0% ${15 + 80 * share}%)`;
    pen.fillRect(c * size, r * size, size, size);
  }));
  const words = T("picture_range", { title, least, most, rows, columns });
  setText(caption, words);
  attr(canvas, "aria-label", words);
}
