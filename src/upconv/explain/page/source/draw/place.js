// What a cell looks like: its phase as a colour, what happened to it as a pattern, its place as coordinates.

const HUES = 4;
// Shades of a hue, as many as the colours that the page is built with.
const SHADES = 7;

function letterOf(index) {
  const letter = String.fromCharCode(65 + (index % 26));
  return index < 26 ? letter : letter + Math.floor(index / 26);
}

// The phase of a cell: hue from the residue of the row, shade from that of the column.
function phaseOf(a, b, rows, columns) {
  const shade = columns > 1 ? Math.round(((SHADES - 1) * b) / (columns - 1)) : 0;
  return { colour: `p${a % HUES}${shade}`, letter: letterOf(a * columns + b), many: rows > HUES || columns > HUES };
}

// On one axis every residue has a hue, or, seen along the columns of two dimensions, a shade.
function phaseOnAxis(residue, count) {
  const shade = Math.min(SHADES - 1, 3 * Math.floor(residue / HUES));
  return { colour: `p${residue % HUES}${shade}`, letter: letterOf(residue), many: count > HUES };
}

// Dress a cell. `kind` is a class; `r` and `c` are its place in its grid; `sel` is what choosing it chooses.
function dress(cell, { kind, text, label, r, c, at, phase, sel, sub, mark }) {
  const names = ["cell", kind, phase?.colour, phase?.many ? "many" : ""].filter(Boolean).join(" ");
  if (cell.base !== names) {
    cell.className = names;
    cell.base = names;
  }
  setText(cell, text);
  attr(cell, "aria-label", label);
  attr(cell, "data-letter", phase?.letter);
  attr(cell, "data-sub", sub);
  attr(cell, "data-mark", mark);
  if (at !== undefined) setVar(cell, "--at", at);
  cell.r = r;
  cell.c = c;
  cell.sel = sel;
}

function makeCell() {
  return h("div", { role: "gridcell", tabindex: "-1", class: "cell" });
}

// A cell's role in a selection: "chosen", "partner", "second", "off" or nothing, with a number where pairs match.
function markCell(cell, role, number) {
  const wanted = role ? `${cell.base} ${role}` : cell.base;
  if (cell.className !== wanted) cell.className = wanted;
  attr(cell, "data-mark", number || null);
  if (cell.getAttribute("role") === "gridcell") attr(cell, "aria-selected", role === "chosen" ? "true" : null);
}
