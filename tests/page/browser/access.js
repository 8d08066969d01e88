// axe on every screen: in both languages, light and dark, wide and narrow.
"use strict";
const assert = require("node:assert/strict");
const { modules } = require("./harness.js");

const AXE = modules.resolve("axe-core/axe.min.js");
const SCREENS = ["", "#explore", "#explore?sel=o1.1", "#explore?op=2", "#explore?n=31&k=4&op=0&g=2&ci=2&co=2", "#fix", "#port", ...[1, 2, 3, 4, 5, 6, 7, 8].map((step) => `#learn/${step}`)];

async function examine(page, what) {
  await page.waitForTimeout(50);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const told = found.violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any.map((each) => each.message).join(" ").slice(0, 200)}`).join(" | ")}`);
  assert.deepEqual(told, [], what);
}

async function examineAll({ open, close, go }, options, lang) {
  for (const screen of SCREENS) {
    const page = await open(`${screen || "#home"}${screen.includes("?") ? "&" : "?"}lang=${lang}`, options);
    await page.evaluate(require("node:fs").readFileSync(AXE, "utf8"));
    await examine(page, `${screen} ${lang}`);
    if (screen.startsWith("#learn")) {
      await page.locator(".question input").first().check();
      await examine(page, `${screen} ${lang}, answered`);
    }
    if (screen === "#explore" || screen === "#port") {
      for (const tab of await page.locator("[role=tab]:visible").all()) {
        await tab.click();
        await examine(page, `${screen} ${lang}, ${await tab.innerText()}`);
      }
    }
    await close(page);
  }
}

module.exports = {
  axe_in_english: (tools) => examineAll(tools, {}, "en"),
  axe_in_korean_and_dark: (tools) => examineAll(tools, { dark: true }, "ko"),
  axe_on_a_phone: (tools) => examineAll(tools, { width: 390, height: 844, touch: true }, "ko"),

  async targets_on_touch_are_large({ open, close }) {
    for (const link of ["#explore?sel=i0.0", "#fix", "#port", "#learn/4"]) {
      const page = await open(link, { width: 390, height: 844, touch: true });
      const small = await page.evaluate(() => [...document.querySelectorAll("button, select, input[type=number], .map.output .cell, .door")]
        .filter((el) => el.getClientRects().length)
        .map((el) => [el.getAttribute("aria-label") || el.innerText || el.id, el.getBoundingClientRect()])
        .filter(([, box]) => box.height < 43.5 || box.width < 30)
        .map(([name, box]) => `${name}: ${box.width} × ${box.height}`));
      assert.deepEqual(small, [], link);
      await close(page);
    }
  },
};
