// The first screen: what the operation is, on a canvas of numbers, and the doors.

const FIRST = { n: 3, k: 3, s: 2, p: 1, op: 1, d: 1 };

function makeHome(dispatch) {
  const strip = makeStrip(T("strip_label"), { choose: (sel) => strip.mark(sel) });
  const kernel = makeKernelLine();
  const door = (name) => h("a", {
    class: "door", href: name === "learn" ? "#learn/1" : `#${name}`, onclick: (event) => {
      event.preventDefault();
      dispatch({ type: "door", door: name, push: true });
    },
  }, h("strong", { text: T(`card_${name}`) }), h("span", { text: T(`card_${name}_says`) }));
  const el = h("section", { class: "home" },
    h("h1", { text: T("title") }),
    paragraph(T("lead"), { class: "lead" }),
    h("div", { class: "doors" }, ["learn", "explore", "fix", "port"].map(door)),
    h("h2", { class: "small", text: T("first_caption") }),
    h("div", { class: "first" }, h("div", { class: "pictured" }, kernel.el, h("div", { class: "scroll fits" }, strip.el)), paragraph(T("first_says"))));
  const draw = () => {
    const axis = torchAxis(FIRST.n, FIRST);
    const [start, stop] = extentOf(axis);
    const model = { axis, inputs: LESSON_INPUT, taps: LESSON_TAPS, stamps: FIRST.n, start, stop };
    strip.draw(model);
    kernel.draw(model);
  };
  return { el, draw };
}
