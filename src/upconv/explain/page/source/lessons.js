// The eight steps as numbers: where each begins, which handles it gives, what its answer reveals. Words are in steps_*.

const LESSON_INPUT = [2, 1, 3];
const LESSON_TAPS = [1, 3, 2];
const LESSON_PLAIN = { k: 3, s: 2, p: 0, op: 0, d: 1 };

// `right` is the place of the right answer; `then` is a second look after it.
const LESSONS = [
  { kind: "stamps", start: { s: 3 }, handles: ["x"], right: 1, reveal: { x: [0, 1, 3] } },
  { kind: "stamps", start: { s: 3 }, handles: ["s"], right: 1, reveal: { s: 2 }, then: { s: 4 } },
  { kind: "stamps", start: { s: 2 }, handles: ["s", "p"], right: 2, reveal: { p: 1 } },
  { kind: "stamps", start: { s: 2, p: 1 }, handles: ["s", "p", "op"], right: 2, reveal: { op: 1 }, then: { p: 0, op: 1 }, arrows: true },
  { kind: "wires", start: { s: 2, p: 1, op: 1 }, handles: [], right: 1, reveal: {} },
  { kind: "stamps", start: { s: 3, d: 2 }, handles: ["s", "d"], right: 2, reveal: { s: 2 } },
  { kind: "counts", start: { n: 4, k: 3, s: 2, p: 1, op: 1 }, handles: ["k", "s", "p", "op"], right: 1, reveal: { k: 4, op: 0, row: 1 } },
  { kind: "channels", start: { ci: 4, co: 6, g: 2 }, handles: ["g"], right: 2, reveal: {} },
];

// Rows of weights whose outer product with themselves is a kernel; those of one length are offered together.
const LESSON_ROWS = [[1, 1, 1], [1, 2, 1], [1, 1, 1, 1], [1, 2, 3, 1], [1, 3, 3, 1]];

function rowsOfLength(k) {
  const found = LESSON_ROWS.filter((row) => row.length === k);
  return found.length ? found : [range(0, k).map(() => 1)];
}

function lessonStart(step) {
  return { x: LESSON_INPUT, n: LESSON_INPUT.length, row: 0, ...LESSON_PLAIN, ...LESSONS[step - 1].start };
}

function lessonAxis(values) {
  return torchAxis(values.n, values);
}
