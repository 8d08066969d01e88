// The frame of the page: header, tabs, notices.

function makeHeader(dispatch) {
  const links = ["learn", "explore", "fix", "port"].map((door) => h("a", {
    href: door === "learn" ? "#learn/1" : `#${door}`, "data-door": door, text: T(`door_${door}`),
    onclick: (event) => {
      event.preventDefault();
      dispatch({ type: "door", door, push: true });
    },
  }));
  const brand = h("a", { href: "#", class: "brand", text: "upconv", onclick: (event) => {
    event.preventDefault();
    dispatch({ type: "door", door: "home", push: true });
  } });
  const languages = [["en", "English"], ["ko", "한국어"]].map(([lang, name]) => h("button", {
    type: "button", class: "quiet", lang, "data-lang": lang, text: name, onclick: () => dispatch({ type: "patch", patch: { lang } }),
  }));
  const theme = h("button", { type: "button", class: "quiet", "aria-label": T("theme"), title: T("theme"), text: "◐", onclick: switchTheme });
  const el = h("header", { class: "top" }, brand, h("nav", { "aria-label": T("doors") }, links), h("div", { class: "rowof" }, languages, theme));
  const draw = (state) => {
    for (const link of links) attr(link, "aria-current", link.dataset.door === state.door ? "page" : null);
    for (const button of languages) attr(button, "aria-pressed", String(button.dataset.lang === state.lang));
  };
  return { el, draw };
}

function switchTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
}

// Tabs as the ARIA pattern has them: arrows move between them, one stop of the Tab key.
function makeTabs(entries, label, onSelect) {
  const id = `tabs${makeTabs.made = (makeTabs.made ?? 0) + 1}`;
  const buttons = entries.map(([name, text]) => h("button", { type: "button", role: "tab", id: `${id}-${name}`, "aria-controls": `${id}-panel-${name}`, text, onclick: () => select(name, true) }));
  const sections = entries.map(([name]) => h("div", { role: "tabpanel", id: `${id}-panel-${name}`, "aria-labelledby": `${id}-${name}`, class: "tabpanel" }));
  const el = h("div", { role: "tablist", class: "tabs", "aria-label": label }, buttons);
  const panels = h("div", { class: "tabpanels" }, sections);
  let chosen = entries[0][0];
  el.addEventListener("keydown", (event) => {
    const at = entries.findIndex(([name]) => name === chosen);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(entries[(to + entries.length) % entries.length][0], true);
    buttons[(to + entries.length) % entries.length].focus();
  });
  function select(name, told = false) {
    chosen = name;
    entries.forEach(([each], at) => {
      attr(buttons[at], "aria-selected", String(each === name));
      buttons[at].tabIndex = each === name ? 0 : -1;
      sections[at].hidden = each !== name;
    });
    if (told) onSelect(name);
  }
  select(chosen);
  return { el, panels, sections, select, current: () => chosen, panel: (name) => sections[entries.findIndex(([each]) => each === name)] };
}

// What a link said that the page could not follow.
function makeNotices() {
  const el = h("div", { class: "notices", role: "status", hidden: true });
  const draw = ({ notices }) => {
    el.hidden = !notices.length;
    replace(el, notices.map((notice) => paragraph(T(`notice_${notice.why}`, notice))));
  };
  return { el, draw };
}
