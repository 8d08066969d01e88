// node screenshots.js FOLDER: the pictures that must look right, in both languages, to be looked at.
// node screenshots.js --docs: the three of them that docs/page-checklist.md shows, anew.
"use strict";
const path = require("node:path");
const { launch, open } = require("./harness.js");

const check = (at) => (page) => page.locator(".question input").nth(at).check();
const tab = (at) => (page) => page.locator(".lab > .tabs [role=tab]").nth(at).click();
const IMAGES = path.join(__dirname, "../../../docs/images");
const phone = { width: 390, height: 844, touch: true };

// name, link, options, and what is done before the picture is taken.
const SHOTS = [
  ["1-first-screen", "#home", {}],
  ["2-first-screen-phone-dark", "#home", { ...phone, dark: true }],
  ["3-overlap", "#learn/2", {}, check(1)],
  ["4-output-padding", "#learn/4", { motion: true }, check(0)],
  ["5-wires", "#learn/5", {}, async (page) => {
    await check(1)(page);
    await page.locator(".wiring .output").nth(2).click();
  }],
  ["6-counts-k3", "#learn/7", {}],
  ["6-counts-k4", "#learn/7", {}, check(0)],
  ["7-groups", "#learn/8", {}, async (page) => {
    await check(2)(page);
    await page.locator(".blocks .cell").nth(7).click();
  }],
  ["8-four-views", "#explore?n=3&sel=o3.3", {}],
  ["8-four-views-phone", "#explore?n=3&sel=o3.3", phone],
  ["9-illegal", "#explore?n=16&op=2", {}],
  ["10-solver", "#fix", {}],
  ["11-port", "#port?n=4", {}, (page) => page.locator("[role=tab]:visible").nth(2).click()],
  ["12-checkerboard-deuteranopia", "#explore?n=6", { vision: "deuteranopia" }, tab(1)],
  ["12-checkerboard-forced-colours", "#explore?n=4&sel=o2.3", { forced: true, dark: true }, tab(1)],
  ["13-large-map", "#explore?n=31&k=4&op=0&sel=o30.30", {}],
  ["14-dilation", "#learn/6", { motion: true }, check(2)],
];

const DOCS = [
  ["page-learn", "#learn/4", { motion: true, width: 1160 }, check(2)],
  ["page-explore", "#explore?n=3&sel=o3.3", { cut: 1230 }],
  ["page-fix", "#fix", { width: 1000, cut: 900 }],
];

async function shoot(browser, folder, lang, [name, link, options, act]) {
  const page = await open(browser, `${link}${link.includes("?") ? "&" : "?"}lang=${lang || "en"}`, options);
  if (options.vision) {
    const session = await page.context().newCDPSession(page);
    await session.send("Emulation.setEmulatedVisionDeficiency", { type: options.vision });
  }
  if (act) await act(page);
  await page.waitForTimeout(options.motion ? 2500 : 400);
  if (!options.touch || name.startsWith("2")) {
    // A window as high as the page, so that nothing is out of sight.
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width: options.width ?? 1280, height: lang ? Math.max(height, 900) : options.cut ?? height });
    await page.waitForTimeout(300);
  }
  await page.screenshot({ path: path.join(folder, `${name}${lang && `-${lang}`}.png`) });
  await page.context().close();
}

(async () => {
  const [, , folder, wanted = ""] = process.argv;
  const browser = await launch();
  const docs = folder === "--docs";
  for (const lang of docs ? [""] : ["en", "ko"]) {
    for (const shot of docs ? DOCS : SHOTS) if (shot[0].startsWith(wanted)) await shoot(browser, docs ? IMAGES : folder, lang, shot);
  }
  await browser.close();
})();
