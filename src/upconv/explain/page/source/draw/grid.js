// Grids that the keyboard walks through: one stop of the Tab key each, arrows between cells, Enter to pin, Esc to free.

const FORWARD = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

// Make an element a grid. `choose(sel, how)` hears "look" (hover or focus), "pin" and "free"; `type` hears other keys.
function walkable(el, { choose, type = () => false }) {
  el.setAttribute("role", "grid");
  el.addEventListener("keydown", (event) => onKey(el, event, choose, type));
  el.addEventListener("focusin", (event) => {
    const cell = cellOf(el, event.target);
    if (!cell) return;
    rove(el, cell);
    choose(cell.sel, "look");
  });
  el.addEventListener("focusout", (event) => {
    if (!el.contains(event.relatedTarget)) choose(null, "leave");
  });
  el.addEventListener("pointerover", (event) => {
    const cell = event.pointerType === "mouse" && cellOf(el, event.target);
    if (cell) choose(cell.sel, "look");
  });
  el.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") choose(cellOf(el, document.activeElement)?.sel ?? null, "leave");
  });
  el.addEventListener("click", (event) => {
    const cell = cellOf(el, event.target);
    if (!cell) return;
    cell.focus({ preventScroll: true });
    choose(cell.sel, "pin");
  });
}

function cellOf(el, target) {
  const cell = target?.closest?.("[role=gridcell]");
  return cell && el.contains(cell) ? cell : null;
}

// One cell of the grid can be reached by Tab: the one last visited, or the first.
function rove(el, cell) {
  if (el.stop && el.stop !== cell) el.stop.tabIndex = -1;
  el.stop = cell;
  cell.tabIndex = 0;
}

function settle(el) {
  if (el.stop && el.contains(el.stop)) return;
  const first = el.querySelector("[role=gridcell]");
  if (first) rove(el, first);
}

function onKey(el, event, choose, type) {
  const cell = cellOf(el, event.target);
  if (!cell) return;
  const cells = [...el.querySelectorAll("[role=gridcell]")];
  let next = null;
  if (FORWARD[event.key] && !event.altKey && !event.metaKey) next = neighbour(cells, cell, ...FORWARD[event.key]);
  else if (event.key === "Home" || event.key === "End") next = edge(cells, cell, event.key === "End", event.ctrlKey);
  else if (event.key === "Enter") choose(cell.sel, "pin");
  else if (event.key === "Escape") choose(null, "free");
  else if (!type(event, cell)) return;
  event.preventDefault();
  if (next) next.focus();
}

// The nearest cell in a direction: first by how far along it lies, then by how far aside.
function neighbour(cells, from, down, right) {
  let best = null;
  for (const cell of cells) {
    const [rows, columns] = [cell.r - from.r, cell.c - from.c];
    const along = rows * down + columns * right;
    const aside = Math.abs(down ? columns : rows);
    if (along <= 0 || (right && rows !== 0)) continue;
    if (!best || along < best.along || (along === best.along && aside < best.aside)) best = { cell, along, aside };
  }
  return best?.cell ?? null;
}

function edge(cells, from, last, whole) {
  const among = whole ? cells : cells.filter((cell) => cell.r === from.r);
  return last ? among[among.length - 1] : among[0];
}

// Drag along x: `begin(target)` gives, where a drag may begin, a function that hears by how many cells it has moved so
// far. A bonus beside the number boxes: a press that does not move stays a click.
function draggable(el, cellWidth, begin) {
  el.addEventListener("pointerdown", (event) => {
    const step = event.button ? null : begin(event.target);
    if (!step) return;
    const from = event.clientX;
    let last = 0;
    const move = (moved) => {
      const cells = Math.round((moved.clientX - from) / cellWidth());
      if (cells !== last) step(cells);
      last = cells;
    };
    const stop = () => document.removeEventListener("pointermove", move);
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", stop, { once: true });
    document.addEventListener("pointercancel", stop, { once: true });
  });
}
