// Elements, words and the one place from which everything is drawn.

const app = { state: null, legal: null, parts: [], playing: null };

// The words of the page in the reader's language: T("key") or, where the words depend on numbers, T("key", values).
function T(key, values) {
  const found = (app.state.lang === "ko" ? UI_KO : UI_EN)[key];
  return typeof found === "function" ? found(values) : found;
}

function say() {
  return app.state.lang === "ko" ? SAY_KO : SAY_EN;
}

// An element: properties that begin with "on" are listeners, true and false are attributes that are there or not.
function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "text") el.textContent = value;
    else if (value === true) el.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) el.setAttribute(key, value);
  }
  el.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return el;
}

function svgElement(tag, props = {}) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) el.setAttribute(key, value);
  return el;
}

// Text in which `code` between backquotes is set as code.
function prose(text) {
  return String(text).split("`").map((part, at) => (at % 2 ? h("code", { text: part }) : part.replace(/ × /g, "\u00a0×\u00a0")));
}

function paragraph(text, props = {}) {
  return h("p", props, ...prose(text));
}

// As many children as wanted: those that are there stay, so that focus and transitions survive.
function sync(parent, count, make) {
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(make(parent.children.length));
  return [...parent.children];
}

// Change an attribute only where it differs: most cells stay as they are when one number changes.
function attr(el, name, value) {
  if (value === null || value === undefined || value === false) {
    if (el.hasAttribute(name)) el.removeAttribute(name);
  } else if (el.getAttribute(name) !== String(value)) {
    el.setAttribute(name, value);
  }
}

function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

function setVar(el, name, value) {
  if (el.style.getPropertyValue(name) !== String(value)) el.style.setProperty(name, value);
}

function replace(el, ...children) {
  el.replaceChildren(...children.flat().filter(Boolean));
}

// What is out of sight is drawn when nothing else waits, or when it comes into sight: a number that changes is seen to
// change at once, however much hangs on it.
const sight = { waiting: new Set(), timer: 0, observer: null };

function watch(el) {
  sight.observer ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.inSight = isIntersecting;
      if (isIntersecting) drawWaiting(target);
    }
  }, { rootMargin: "100px" });
  sight.observer.observe(el);
}

function drawSoon(el, draw) {
  el.waiting = draw;
  if (el.inSight !== false) return drawWaiting(el);
  sight.waiting.add(el);
  clearTimeout(sight.timer);
  sight.timer = setTimeout(drawOneByOne, IDLE);
}

const IDLE = 60;

function drawOneByOne() {
  const [el] = sight.waiting;
  if (!el) return;
  drawWaiting(el);
  sight.timer = setTimeout(drawOneByOne, 0);
}

function drawWaiting(el) {
  sight.waiting.delete(el);
  const draw = el.waiting;
  el.waiting = null;
  draw?.();
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// Say something to those who listen: once it has rested for 400 ms, and never twice.
const voice = { el: null, timer: 0 };

function speak(text) {
  clearTimeout(voice.timer);
  voice.timer = setTimeout(() => setText(voice.el, text), 400);
}

// Copy text; where that is refused, the text is shown selected instead.
async function copyText(text, button) {
  const field = button.parentElement.querySelector(".copyfield");
  field?.remove();
  try {
    await navigator.clipboard.writeText(text);
    setText(button, T("copied"));
    setTimeout(() => setText(button, button.dataset.plain), 1500);
    speak(T("copied"));
  } catch {
    const shown = h("textarea", { class: "copyfield", readonly: true, rows: String(Math.min(6, text.split("\n").length)), "aria-label": T("copy_by_hand") });
    shown.value = text;
    button.after(shown);
    shown.focus();
    shown.select();
    speak(T("copy_by_hand"));
  }
}

function copyButton(label, text) {
  const button = h("button", { type: "button", class: "quiet", text: label, onclick: () => copyText(text(), button) });
  button.dataset.plain = label;
  return button;
}
