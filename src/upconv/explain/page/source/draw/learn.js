// Learn: one step at a time. Look, commit to an answer, see it in the picture, play.

const STAMP_TIME = 600;

function makeLearn(dispatch) {
  const steps = h("ol", { class: "stepper" });
  const body = h("div", { class: "lesson" });
  const el = h("section", { class: "learn", "aria-label": T("door_learn") }, h("nav", { "aria-label": T("steps") }, steps), body);
  let built = null;
  const draw = (state) => {
    if (built === state.step) return;
    built = state.step;
    stopPlaying();
    replace(steps, range(1, STEPS + 1).map((step) => h("li", {}, h("button", {
      type: "button", text: String(step), "aria-label": `${step}. ${words().steps[step - 1].title}`, "aria-current": step === state.step ? "step" : null, onclick: () => dispatch({ type: "door", door: "learn", step, push: true }),
    }))));
    buildLesson(body, state.step, dispatch);
  };
  return { el, draw };
}

function words() {
  return app.state.lang === "ko" ? STEPS_KO : STEPS_EN;
}

function stopPlaying() {
  clearTimeout(app.playing);
  app.playing = null;
}

// A lesson in progress: its numbers, whether it has been answered, and how many stamps are on the canvas.
function buildLesson(body, step, dispatch) {
  const plan = LESSONS[step - 1];
  const text = words().steps[step - 1];
  const lesson = { step, plan, text, values: lessonStart(step), answer: null, revealed: false, stamps: LESSON_INPUT.length, trouble: "" };
  const picture = PICTURES[plan.kind](lesson, update);
  const trouble = h("p", { class: "errortext", role: "status" });
  const handles = h("div", { class: "handles rowof" }, plan.handles.flatMap((name) => makeHandle(name, lesson, change)));
  const outcome = h("div", { class: "outcome", "aria-live": "polite" });
  const question = makeQuestion(text, (answer) => {
    lesson.answer = answer;
    reveal();
  });
  const skip = h("button", { type: "button", class: "quiet", text: T("just_show"), onclick: () => reveal() });
  const lead = text.look.map((line) => paragraph(line));
  const links = h("div", { class: "rowof ends" },
    step > 1 ? h("button", { type: "button", text: `← ${words().steps[step - 2].title}`, onclick: () => dispatch({ type: "door", door: "learn", step: step - 1, push: true }) }) : h("span"),
    step < STEPS
      ? h("button", { type: "button", class: "primary", text: `${words().steps[step].title} →`, onclick: () => dispatch({ type: "door", door: "learn", step: step + 1, push: true }) })
      : h("button", { type: "button", class: "primary", text: T("go_explore"), onclick: () => dispatch({ type: "door", door: "explore", push: true }) }));
  replace(body, h("p", { class: "muted", text: T("step_of", { step, steps: STEPS }) }), h("h1", { tabindex: "-1", text: text.title }), ...lead,
    h("div", { class: "bench" }, h("div", { class: "stage" }, picture.el, handles, trouble),
      h("div", { class: "asked" }, question, h("div", { class: "rowof" }, skip), outcome)), links);

  function change(patch) {
    stopPlaying();
    lesson.stamps = LESSON_INPUT.length;
    const next = { ...lesson.values, ...patch };
    const { n, ...setting } = next;
    const refusals = plan.kind === "channels" ? [channelRefusal(next.ci, next.co, next.g)].filter(Boolean) : refusalsOf(n, setting);
    lesson.trouble = refusals.map((refusal) => `${say().refusal(refusal)}.`).join(" ");
    if (!refusals.length) lesson.values = next;
    update();
  }

  function reveal() {
    const first = !lesson.revealed;
    lesson.revealed = true;
    skip.hidden = true;
    if (first) {
      lesson.before = lesson.values;
      lesson.values = { ...lesson.values, ...plan.reveal };
      if (plan.kind === "stamps" && !calm()) playStamps(lesson, update);
    }
    update();
  }

  function update() {
    picture.draw();
    setText(trouble, lesson.trouble);
    for (const handle of handles.children) handle.draw?.();
    drawOutcome(outcome, lesson, change);
  }
  update();
}

function makeQuestion(text, onAnswer) {
  const name = `answer-${text.title}`;
  return h("div", { class: "question" }, h("fieldset", {}, h("legend", {}, ...prose(text.question)), text.options.map(([label], at) =>
    h("label", { class: "check" }, h("input", { type: "radio", name, value: String(at), onchange: () => onAnswer(at) }), h("span", {}, ...prose(label))))));
}

function drawOutcome(el, lesson, change) {
  const { text, plan, answer, revealed } = lesson;
  const key = JSON.stringify([answer, revealed, app.state.lang]);
  if (el.key === key || !revealed) return;
  el.key = key;
  const right = answer === plan.right;
  const parts = [];
  if (answer !== null) parts.push(h("p", { class: right ? "verdict right" : "verdict" }, h("strong", { text: right ? T("right") : T("not_quite") }), " ", ...prose(text.options[answer][1])));
  if (!right) parts.push(h("p", {}, h("strong", { text: T("answer_is") }), " ", ...prose(text.options[plan.right][0].replace(/\.?$/, ".")), " ", ...prose(text.options[plan.right][1])));
  parts.push(h("p", { class: "rule" }, ...prose(text.rule)));
  if (plan.then) parts.push(h("p", {}, h("button", { type: "button", text: text.then[0], onclick: () => change(plan.then) }), " ", ...prose(text.then[1])));
  parts.push(paragraph(text.play));
  replace(el, parts);
}

// A handle: − value + for a parameter, or for each input.
function makeHandle(name, lesson, change) {
  if (name === "x") return LESSON_INPUT.map((_, i) => stepperFor(`x${i}`, () => lesson.values.x[i], (value) => change({ x: lesson.values.x.map((old, at) => (at === i ? value : old)) })));
  return [stepperFor(T(`name_${name}`), () => lesson.values[name], (value) => change({ [name]: value }))];
}

function stepperFor(label, read, write) {
  const value = h("output", { class: "mono" });
  const button = (by, sign) => h("button", { type: "button", class: "step", text: sign, "aria-label": T(by > 0 ? "increase" : "decrease", { name: label }), onclick: () => write(read() + by) });
  const el = h("span", { class: "box handle" }, h("span", { class: "tag", text: label }), button(-1, "−"), value, button(1, "+"));
  el.draw = () => setText(value, minus(String(read())));
  return el;
}

// One stamp after another, from the first.
function playStamps(lesson, update) {
  stopPlaying();
  lesson.stamps = 0;
  const next = () => {
    lesson.stamps += 1;
    update();
    app.playing = lesson.stamps < LESSON_INPUT.length ? setTimeout(next, STAMP_TIME) : null;
  };
  update();
  app.playing = setTimeout(next, STAMP_TIME / 2);
}

// Space plays, . and , step: while the picture has the focus.
function playerKeys(lesson, update) {
  return (event) => {
    if (event.key === " ") playStamps(lesson, update);
    else if (event.key === "." || event.key === ",") {
      stopPlaying();
      lesson.stamps = clamp(lesson.stamps + (event.key === "." ? 1 : -1), 0, LESSON_INPUT.length);
      update();
    } else return false;
    return true;
  };
}

function stampsPicture(lesson, update) {
  const strip = makeStrip(T("strip_label"), {
    choose: (sel) => strip.mark(sel), type: playerKeys(lesson, update), drag: (side) => dragBlade(lesson, side, update),
  });
  const kernel = makeKernelLine();
  const before = h("div", { class: "before", hidden: true });
  const arrows = h("div", { class: "arrows", hidden: !lesson.plan.arrows });
  const play = h("button", { type: "button", class: "quiet", text: T("play"), onclick: () => (calm() ? update() : playStamps(lesson, update)) });
  const el = h("div", {}, kernel.el, before, h("div", { class: "scroll fits" }, strip.el), arrows, h("div", { class: "rowof" }, play, h("span", { class: "muted keyed" }, ...prose(T("play_keys")))));
  const draw = () => {
    const model = lessonModel(lesson.values, lesson.stamps);
    strip.draw(model);
    kernel.draw(model);
    drawBefore(before, lesson);
    if (lesson.plan.arrows) replace(arrows, convArrows(lesson.values));
    attr(strip.el, "data-values", stampedRow(lessonAxis(lesson.values), lesson.values.x, LESSON_TAPS).join(" "));
  };
  return { el, draw };
}

function lessonModel(values, stamps) {
  const axis = lessonAxis(values);
  const [start, stop] = extentOf(axis);
  return { axis, inputs: values.x, taps: LESSON_TAPS, stamps, start, stop };
}

// Without motion the change is shown as two pictures.
function drawBefore(el, lesson) {
  const wanted = calm() && lesson.revealed && Boolean(lesson.before);
  el.hidden = !wanted;
  if (!wanted || el.firstChild) return;
  const strip = makeStrip(T("before"), { choose: (sel) => strip.mark(sel) });
  strip.draw(lessonModel(lesson.before, LESSON_INPUT.length));
  el.append(h("p", { class: "muted", text: T("before") }), h("div", { class: "scroll fits" }, strip.el), h("p", { class: "muted", text: T("after") }));
}

function dragBlade(lesson, side, update) {
  const { s, p, op } = lesson.values;
  const may = (name) => lesson.plan.handles.includes(name);
  const pulls = { s: ["s", s, 1], lo: ["p", p, 1], hi: may("op") ? ["op", op, 1] : ["p", p, -1] };
  const [name, value, way] = pulls[side];
  return may(name) && ((cells) => {
    const patch = { [name]: value + way * cells };
    const next = { ...lesson.values, ...patch };
    if (refusalsOf(next.n, next).length) return;
    lesson.values = next;
    update();
  });
}

// Beside output_padding: the sizes that Conv1d sends into the same 3, and which of them this setting makes.
function convArrows(values) {
  const axis = lessonAxis(values);
  const sizes = sizesUndone(values, values.n);
  return [h("p", { class: "muted", text: T("conv_arrows", { n: values.n }) }), h("div", { class: "rowof" }, sizes.map((size) =>
    h("span", { class: size === axis.out ? "size now" : "size faint", text: `${size} → ${values.n}` })))];
}
