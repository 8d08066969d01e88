// Compares the page's pure functions with what the library says. Runs in node and, as it is, in the page; gives a list
// of {what, which, expected, got}, empty where all agree.
function checkGolden(golden, up) {
  const wrong = [];
  const text = (value) => JSON.stringify(value);
  let which = "";
  const same = (what, expected, got) => {
    if (text(expected) !== text(got)) wrong.push({ what, which, expected, got });
  };
  const axisFrom = ({ n, k, s, d, lo, hi }) => up.makeAxis(n, k, s, d, lo, hi);
  const [say, ko] = [up.SAY.en, up.SAY.ko];
  const numbers = (setting) => [setting.k, setting.s, setting.p, setting.op, setting.d];

  for (const each of golden.axes) {
    which = text(each.axis);
    const axis = axisFrom(each.axis);
    const verdict = up.verdictOf(axis);
    same("out", each.out, axis.out);
    same("full", each.full, axis.full);
    same("pairs", each.pairs, each.pairs.map((_, o) => up.pairsOf(axis, o)));
    same("counts", each.counts, up.counts(axis));
    same("phases", each.phases, up.phasesOf(axis).map(({ residue, taps, start }) => ({ residue, taps, start })));
    same("zeros", each.zeros, up.insertedZeros(axis));
    same("written", each.written, up.written(axis, say));
    same("documented", each.documented, up.documented(axis, say));
    same("ambiguity", each.ambiguity, up.ambiguity(axis, say));
    same("verdict", each.verdict, [verdict.kind, say.verdict(verdict)]);
    const [border, beyond] = [up.borderOf(axis), up.beyondOf(axis)];
    same("korean", each.korean, [ko.verdict(verdict), border && ko.border(border), beyond && ko.beyond(beyond)]);
    same("even", each.even.map(numbers), up.evenAlternatives(axis).map(numbers));
    same("dead", each.dead, up.deadOutputs(axis));
    same("ignored", each.ignored, up.ignoredInputs(axis));
    same("useful", each.useful, up.usefulTaps(axis));
  }

  for (const each of golden.layers) {
    which = text([each.h, each.w]);
    const [h, w] = [axisFrom(each.h), axisFrom(each.w)];
    same("verdicts", each.verdicts, up.verdictSentences(h, w, say));
    for (const [target, expected] of Object.entries(each.translations)) {
      which = `${target} ${text([each.h, each.w])}`;
      const found = up.translate(target, h, w);
      same("call", expected.call, up.callOf(target, h, w, found.settings));
      same("differences", expected.differences, up.differenceSentences(found.differences, say));
      same("steps", expected.steps, up.weightSteps(target));
      const cut = up.cutAfterwards(target, h, w);
      const lines = cut
        ? ["Exact, with a cut afterwards:", `  y = ${up.callOf(target, ...cut.axes, cut.settings)}(x)`, `  y = y[${cut.index}]`]
        : [];
      same("cut", expected.cut, lines);
      if ("always" in expected) {
        const grown = (axis, n) => up.makeAxis(n, axis.k, axis.s, axis.d, axis.lo, axis.hi);
        same("always", expected.always, up.holdsAlways(target, h, w, ([a, b]) => [grown(h, a), grown(w, b)]));
      }
    }
  }

  for (const { setting: { n, ...setting }, message } of golden.refused) {
    which = text({ n, ...setting });
    const refusals = up.refusalsOf(n, setting);
    same("refusal", message, refusals.length ? refusals.map(say.refusal).join("; ") : null);
    // Each fix mends what it is offered for, and taking the first again and again ends at a layer that can be.
    for (const refusal of refusals) {
      for (const fix of up.fixesOf(n, setting, refusal)) {
        const mended = { n, ...setting, ...fix };
        const left = up.refusalsOf(mended.n, mended).filter(({ why, name }) => why === refusal.why && name === refusal.name);
        same(`fix ${text(fix)}`, [], left);
      }
    }
    let mended = { n, ...setting };
    for (let tries = 0; tries < 8 && up.refusalsOf(mended.n, mended).length; tries++) {
      mended = { ...mended, ...up.fixesOf(mended.n, mended, up.refusalsOf(mended.n, mended)[0])[0] };
    }
    same("fixes end", [], up.refusalsOf(mended.n, mended));
  }

  for (const { channels, message } of golden.channels) {
    which = text(channels);
    const refusal = up.channelRefusal(...channels);
    same("channels", message, refusal && say.refusal(refusal));
    if (refusal?.why !== "undivided") continue;
    for (const fix of up.fixesOf(1, {}, refusal)) {
      const mended = { ci: channels[0], co: channels[1], g: channels[2], ...fix };
      const left = up.channelRefusal(mended.ci, mended.co, mended.g);
      if (left && (fix.g || left.name === refusal.name)) same(`fix ${text(fix)}`, null, left);
    }
  }

  for (const each of golden.solved) {
    which = text([each.size, each.kept]);
    const refusal = up.tooMany([each.size, each.size], each.kept);
    same("too many", each.message ?? null, refusal && say.too_many(refusal));
    if (each.message) continue;
    const [{ found, sizes }] = up.solutionsFor([each.size, each.size], each.kept);
    const listed = found.map(numbers).map(text);
    same("solutions", each.count, found.length);
    same("all solutions", each.all.map(text).sort(), [...listed].sort());
    same("missed by the solver", [], each.brute.filter((setting) => !listed.includes(text(setting))));
    same("rows", each.rows, found.slice(0, 12).map((setting) => {
      const row = up.solutionRow(setting, sizes, true);
      return [up.settingArguments(setting), say.remark(row), row.products.toLocaleString("en-US"), say.undone(row.undone)];
    }));
  }

  for (const each of golden.lists) {
    which = text(each.sizes);
    same("one list or one for each axis", each.lists, up.solutionsFor(each.sizes).filter(({ found }) => found.length).length);
  }

  for (const each of golden.nearest) {
    which = text(each);
    const found = up.nearest(each.setting, each.n, each.out);
    same("nearest", each.nearest && numbers(each.nearest), found && numbers(found));
  }

  for (const each of golden.outputs) {
    which = text([each.h, each.w]);
    same("output", each.y, up.stampedMap(axisFrom(each.h), axisFrom(each.w), each.x, each.kernel));
  }

  for (const each of golden.links) {
    which = each.link;
    const state = up.stateOf(each.link);
    const place = ({ n, k, s, d, lo, hi }) => ({ n, k, s, d, lo, hi });
    same("notices", [], state.notices);
    same("height", each.h, place(up.axisAt(state.layer, 0)));
    same("width", each.w, place(up.axisAt(state.layer, 1)));
    same("channels", each.channels, [state.layer.g, state.layer.ci, state.layer.co]);
    const again = up.stateOf(up.linkOf(state));
    same("link and back", { ...state, notices: [] }, again);
  }
  return wrong;
}

if (typeof module === "object") module.exports = { checkGolden };
