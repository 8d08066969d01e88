// The main states once more, in WebKit: WebKitGTK's MiniBrowser, driven through its WebDriver without any library.
// node webkit.js MINIBROWSER GOLDEN.json; UPCONV_SHOTS=FOLDER keeps pictures to look at.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { spawn } = require("node:child_process");

const PORT = Number(process.env.UPCONV_WEBDRIVER_PORT || 18431);
const PAGE = `file://${path.resolve(process.env.UPCONV_PAGE || path.join(__dirname, "../../docs/page.html"))}`;
const SCREENS = ["home", ...[1, 2, 3, 4, 5, 6, 7, 8].map((step) => `learn/${step}`), "explore?sel=o1.1", "explore?op=2", "explore?n=31&k=4&op=0&sel=o30.30", "explore?n=3&c=-1:2x0:-2", "fix", "port"];
const ANSWERED = { 1: "0 0 0 1 3 2 3 9 6", 2: "2 6 5 3 5 9 6", 3: "6 5 3 5 9", 4: "6 5 3 5 9 6", 6: "2 0 7 0 10 0 11 0 6" };
const [UP, RIGHT, TAB, DOWN, ENTER] = ["\uE013", "\uE014", "\uE004", "\uE015", "\uE007"];

const sleep = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

async function call(method, where, body) {
  const answer = await fetch(`http://127.0.0.1:${PORT}${where}`, { method, body: body && JSON.stringify(body) });
  const { value } = await answer.json();
  assert.ok(answer.ok, `${where}: ${JSON.stringify(value)}`);
  return value;
}

// The driver takes a moment to listen.
async function begin(binary) {
  const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": { binary, args: ["--automation"] } } };
  for (let tries = 0; ; tries++) {
    await sleep(200);
    const session = await call("POST", "/session", { capabilities }).catch((error) => error);
    if (session.sessionId) return session;
    if (tries > 150) throw session;
  }
}

function makeBrowser({ sessionId }) {
  const at = `/session/${sessionId}`;
  const run = (script, ...args) => call("POST", `${at}/execute/sync`, { script, args });
  const evaluate = (what, ...args) => run(`return (${what}).apply(null, arguments)`, ...args);
  const until = async (what, why, ...args) => {
    for (let tries = 0; !(await evaluate(what, ...args)); tries++) {
      if (tries > 300) assert.fail(why);
      await sleep(100);
    }
  };
  return {
    run, evaluate, until,
    size: (width, height) => call("POST", `${at}/window/rect`, { width, height }),
    async go(link) {
      await call("POST", `${at}/url`, { url: "about:blank" });
      await call("POST", `${at}/url`, { url: `${PAGE}#${link}` });
      await until(() => Boolean(document.querySelector("main h1")), link);
      await evaluate(() => {
        globalThis.trouble = [];
        addEventListener("error", (event) => trouble.push(event.message));
      });
      await sleep(150);
    },
    keys: (...values) => call("POST", `${at}/actions`, {
      actions: [{ type: "key", id: "keyboard", actions: values.flatMap((value) => [{ type: "keyDown", value }, { type: "keyUp", value }]) }],
    }),
    async shot(name) {
      const picture = await call("GET", `${at}/screenshot`);
      fs.writeFileSync(path.join(process.env.UPCONV_SHOTS, `${name.replace(/\W+/g, "-")}.png`), Buffer.from(picture, "base64"));
    },
    close: () => call("DELETE", at),
  };
}

// Nothing wider than its window, no canvas cut off, no error; every step answered rightly. WebKit begins the background
// of a fieldset at the middle of its legend, so none may have one.
async function screens(browser, width, lang) {
  for (const screen of SCREENS) {
    const what = `${screen} ${lang} at ${width}`;
    await browser.go(`${screen}${screen.includes("?") ? "&" : "?"}lang=${lang}`);
    const step = screen.startsWith("learn") && Number(screen.at(-1));
    if (step) {
      await browser.evaluate((which) => { document.querySelectorAll(".question input")[globalThis.upconv.LESSONS[which - 1].right].click(); }, step);
      await browser.until((row) => document.querySelector(".outcome").innerText.length > 20 && (!row || document.querySelector(".stage [data-values]").dataset.values === row), `${what}: answered`, ANSWERED[step] ?? null);
    }
    // Cells that still slide to their places reach out for a moment.
    await browser.until(() => ![...document.querySelectorAll(".fits")].some((box) => box.scrollWidth > box.clientWidth), `${what}: a canvas is cut off`);
    const seen = await browser.evaluate(() => ({
      lang: document.documentElement.lang, trouble, wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      painted: [...document.querySelectorAll("fieldset")].filter((each) => getComputedStyle(each).backgroundColor !== "rgba(0, 0, 0, 0)").length,
    }));
    if (process.env.UPCONV_SHOTS) await browser.shot(what);
    assert.deepEqual(seen, { lang, trouble: [], wider: 0, painted: 0 }, what);
  }
}

async function keyboard(browser) {
  await browser.go("explore?sel=o1.1");
  assert.equal(await browser.evaluate(() => document.querySelector(".equation").innerText), "y[1,1] = 1·1 + 2·2 + 3·1 + 1·1 = 9");
  await browser.go("explore");
  await browser.evaluate(() => { document.querySelector("#box-op").focus(); });
  await browser.keys(UP);
  await browser.until(() => document.querySelector("#error-op").innerText.includes("at most 1"), "a refusal");
  await browser.keys(TAB, ENTER);
  await browser.until(() => document.querySelector("#box-op").value === "1", "mended by Tab and Enter");
  await browser.evaluate(() => { document.querySelector(".map.output [tabindex='0']").focus(); });
  await browser.keys(DOWN, RIGHT, DOWN, RIGHT, ENTER);
  await browser.until(() => location.hash.includes("sel=o1.1"), "pinned by arrows and Enter");
}

async function golden(browser, file) {
  const check = fs.readFileSync(path.join(__dirname, "check_golden.js"), "utf8").replace(/^if \(typeof module.*$/m, "");
  const wrong = await browser.run(`${check}\nreturn checkGolden(arguments[0], globalThis.upconv).slice(0, 3);`, JSON.parse(fs.readFileSync(file, "utf8")));
  assert.deepEqual(wrong, []);
}

async function main(binary, file) {
  const driver = spawn("WebKitWebDriver", [`--port=${PORT}`, "--host=127.0.0.1"], { stdio: "ignore" });
  try {
    const session = await begin(binary);
    const browser = makeBrowser(session);
    console.log(`WebKit ${session.capabilities.browserVersion}`);
    await browser.size(1280, 900);
    await screens(browser, 1280, "en");
    await keyboard(browser);
    await golden(browser, file);
    await browser.size(420, 844);
    await screens(browser, 420, "ko");
    await browser.close();
  } finally {
    driver.kill();
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.log(error.stack);
  process.exitCode = 1;
});
