// Opens the page in a headless Chromium and watches it: any console message, any error and any request to a network is
// a failure, whatever else a check looks at. `node harness.js checks.js` runs the checks of one file.
"use strict";
const assert = require("node:assert/strict");
const path = require("node:path");
const { createRequire } = require("node:module");

const modules = createRequire(path.join(process.env.UPCONV_NODE || __dirname, "node_modules", "x.js"));
const { chromium } = modules("playwright-core");
const PAGE = `file://${path.resolve(process.env.UPCONV_PAGE || path.join(__dirname, "../../../docs/page.html"))}`;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

function launch() {
  return chromium.launch({ executablePath: process.env.UPCONV_CHROMIUM || "/usr/bin/chromium", args: FLAGS });
}

// A page at a link. Options: width, height, dark, touch, motion, forced, script (false: no JavaScript), allow: messages
// that are expected.
async function open(browser, link = "", options = {}) {
  const context = await browser.newContext({
    viewport: { width: options.width ?? 1280, height: options.height ?? 900 },
    colorScheme: options.dark ? "dark" : "light",
    reducedMotion: options.motion ? "no-preference" : "reduce",
    forcedColors: options.forced ? "active" : "none",
    hasTouch: Boolean(options.touch),
    isMobile: Boolean(options.touch),
    javaScriptEnabled: options.script ?? true,
    locale: options.locale ?? "en-US",
  });
  const page = await context.newPage();
  page.trouble = [];
  page.on("console", (message) => page.trouble.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => page.trouble.push(`error: ${error.stack}`));
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) page.trouble.push(`request: ${request.url()}`);
  });
  await page.goto(PAGE + link);
  return page;
}

// Everything that is wrong by itself: trouble heard so far, and content wider than the window.
async function settle(page) {
  assert.deepEqual(page.trouble, []);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `the page is ${wider} px wider than its window`);
}

async function close(page) {
  await settle(page);
  await page.context().close();
}

async function go(page, link) {
  await page.evaluate((hash) => { location.hash = hash; }, link);
  await page.waitForFunction((hash) => location.hash === hash, link);
  await page.waitForTimeout(20);
}

// The text of an element, which is brought into sight first: what is out of sight is neither drawn nor laid out.
async function text(page, selector) {
  const found = page.locator(selector).first();
  await found.scrollIntoViewIfNeeded();
  await page.waitForTimeout(50);
  return found.innerText();
}

async function main(file) {
  const checks = require(path.resolve(file));
  const wanted = process.argv[3];
  const browser = await launch();
  let failed = 0;
  try {
    for (const [name, check] of Object.entries(checks)) {
      if (wanted && !name.includes(wanted)) continue;
      const start = Date.now();
      try {
        await check({ browser, open: (link, options) => open(browser, link, options), close, settle, go, text });
        console.log(`passed: ${name} (${Date.now() - start} ms)`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED: ${name}\n${error.stack}`);
      }
    }
  } finally {
    await browser.close();
  }
  process.exitCode = failed ? 1 : 0;
}

module.exports = { PAGE, launch, open, modules };
if (require.main === module) main(process.argv[2]);
