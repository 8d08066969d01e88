// Channels and groups: which input channel reaches which output channel, and the weight as its blocks.

const MOST_CHANNELS = 12;
const PITCH = 34;
const SPAN = 190;

function makeChannels() {
  const wires = svgElement("svg", { class: "wires", "aria-hidden": "true" });
  const blocks = h("div", { class: "blocks", "aria-label": T("weight_blocks") });
  const words = h("div");
  const view = { lines: [], nodes: [] };
  walkable(blocks, { choose: (sel) => lightWire(view, sel) });
  const el = h("div", { class: "channels" }, h("div", { class: "scroll wirebox" }, wires), h("div", {}, h("div", { class: "scroll" }, blocks), words));
  const draw = (model) => drawChannels({ wires, blocks, words, view }, model);
  return { el, draw };
}

// `model` is {ci, co, g, k: [kH, kW]}, and `hideWeight` before the weight's shape is told.
function drawChannels({ wires, blocks, words, view }, { ci, co, g, k, hideWeight = false }) {
  const [ins, outs] = [Math.min(ci, MOST_CHANNELS), Math.min(co, MOST_CHANNELS)];
  drawWires(wires, view, ins, outs, ci / g, co / g);
  blocks.hidden = hideWeight;
  const each = co / g;
  const shownBlocks = Math.min(each, MOST_CHANNELS);
  const rows = sync(blocks, ins, () => h("div", { role: "row", class: "maprow" }));
  rows.forEach((row, i) => {
    const group = Math.floor(i / (ci / g));
    sync(row, shownBlocks, makeCell).forEach((cell, j) => {
      const o = group * each + j;
      dress(cell, { kind: "weightblock", text: `${i}→${o}`, r: i, c: j, sel: { i, o }, label: T("block", { i, j, o, kh: k[0], kw: k[1] }) });
      cell.classList.toggle("groupstart", i > 0 && i % (ci / g) === 0);
    });
  });
  settle(blocks);
  replace(words, hideWeight ? [] : [
    paragraph(T("weight_shape", { ci, each, kh: k[0], kw: k[1] }), { class: "mono" }),
    paragraph(T("groups_say", { g, ins: ci / g, outs: each, total: ci * each * k[0] * k[1], cut: ci > ins || co > outs })),
  ]);
}

function drawWires(svg, view, ins, outs, perIn, perOut) {
  const height = PITCH * Math.max(ins, outs) + 10;
  attr(svg, "viewBox", `0 0 ${SPAN + 90} ${height}`);
  attr(svg, "width", SPAN + 90);
  attr(svg, "height", height);
  const y = (at, count) => ((at + 0.5) * (height - 10)) / count + 5;
  view.lines = [];
  view.nodes = [];
  const lines = range(0, ins).flatMap((i) => range(0, outs)
    .filter((o) => Math.floor(i / perIn) === Math.floor(o / perOut))
    .map((o) => {
      const line = svgElement("line", { x1: 58, y1: y(i, ins), x2: SPAN + 32, y2: y(o, outs), class: Math.floor(i / perIn) % 2 ? "wire odd" : "wire" });
      view.lines.push({ i, o, line });
      return line;
    }));
  const nodes = [["in", ins, 4], ["out", outs, SPAN + 32]].flatMap(([name, count, x]) => range(0, count).flatMap((at) => {
    const box = svgElement("rect", { x, y: y(at, count) - 12, width: 54, height: 24, rx: 3, class: `node ${name}` });
    const text = svgElement("text", { x: x + 27, y: y(at, count) + 5, "text-anchor": "middle" });
    text.textContent = `${name} ${at}`;
    view.nodes.push({ name, at, box });
    return [box, text];
  }));
  svg.replaceChildren(...lines, ...nodes);
}

function lightWire(view, sel) {
  for (const { i, o, line } of view.lines) line.classList.toggle("lit", Boolean(sel) && sel.i === i && sel.o === o);
  for (const { name, at, box } of view.nodes) box.classList.toggle("lit", Boolean(sel) && (name === "in" ? sel.i : sel.o) === at);
}
