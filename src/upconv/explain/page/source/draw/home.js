// The first screen: what the operation is, on a canvas of numbers, and three doors.

const FIRST = { n: 3, k: 3, s: 2, p: 1, op: 1, d: 1 };

function makeHome(dispatch) {
  const strip = makeStrip(T("strip_label"), { choose: (sel) => strip.mark(sel) });
  const door = (name) => h("a", {
    class: "door", href: name === "learn" ? "#learn/1" : `#${name}`, onclick: (event) => {
      event.preventDefault();
      dispatch({ type: "door", door: name, push: true });
    },
  }, h("strong", { text: T(`card_${name}`) }), h("span", { text: T(`card_${name}_says`) }));
  const el = h("section", { class: "home" },
    h("h1", { text: T("title") }),
    paragraph(T("lead"), { class: "lead" }),
    h("div", { class: "doors" }, ["learn", "fix", "port"].map(door)),
    h("h2", { class: "small", text: T("first_caption") }),
    h("div", { class: "first" }, h("div", { class: "scroll" }, strip.el), paragraph(T("first_says"))),
    h("p", {}, h("a", { href: "#explore", text: T("go_explore"), onclick: (event) => {
      event.preventDefault();
      dispatch({ type: "door", door: "explore", push: true });
    } })));
  const draw = () => {
    const axis = torchAxis(FIRST.n, FIRST);
    const [start, stop] = extentOf(axis);
    strip.draw({ axis, inputs: [2, 1, 3], taps: [1, 3, 2], stamps: FIRST.n, start, stop });
  };
  return { el, draw };
}
