// Random settings against NumPy, the golden data in the page itself, and how long things take.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const read = (name) => JSON.parse(fs.readFileSync(process.env[name], "utf8"));
const number = (text) => Number(text.replace("(", "").replace(")", "").replace("\u2212", "-"));

module.exports = {
  async random_settings_agree_with_numpy({ open, close, go }) {
    const page = await open("#explore");
    let cells = 0;
    for (const { link, sizes, row, column, y } of read("UPCONV_RANDOM_SETTINGS")) {
      await page.evaluate((hash) => {
        history.replaceState(null, "", hash);
        dispatchEvent(new PopStateEvent("popstate"));
      }, link);
      const seen = await page.evaluate(() => ({
        equation: document.querySelector(".equation").textContent,
        values: [...document.querySelectorAll(".map.output .cell.output, .map.output .cell.beyond")].map((cell) => [cell.sel.row, cell.sel.column, cell.textContent]),
        size: document.querySelector(".figure.output .note").textContent,
      }));
      assert.ok(seen.size.endsWith(sizes.join(" × ")) || seen.size.includes(`of ${sizes.join(" × ")}`), `${link}: ${seen.size}`);
      const parts = seen.equation.split(" = ");
      assert.equal(parts[0], `y[${row},${column}]`, link);
      assert.equal(number(parts.at(-1)), y[row][column], `${link}: ${seen.equation}`);
      if (parts.length === 3 && !parts[1].includes("…")) {
        const total = parts[1].split(" + ").map((product) => product.split("·").map(number).reduce((a, b) => a * b)).reduce((a, b) => a + b, 0);
        assert.equal(total, y[row][column], `${link}: ${seen.equation}`);
      }
      for (const [r, c, value] of seen.values) assert.equal(number(value), y[r][c], `${link} at ${r},${c}`);
      cells += seen.values.length;
    }
    assert.ok(cells > 5000, `${cells} cells`);
    await close(page);
  },

  async golden_data_in_the_page({ open, close }) {
    const page = await open();
    const check = fs.readFileSync(path.join(__dirname, "../check_golden.js"), "utf8").replace(/^if \(typeof module.*$/m, "");
    const wrong = await page.evaluate(`(() => { ${check}\n return checkGolden(${JSON.stringify(read("UPCONV_GOLDEN"))}, globalThis.upconv).slice(0, 3); })()`);
    assert.deepEqual(wrong, []);
    await close(page);
  },

  async links_come_back({ open, close }) {
    const page = await open("#explore?n=3x4&k=2x3&s=2x1&p=0x1&op=1x0&g=2&ci=2&co=4&view=c&along=rows&sel=t0.1");
    await page.locator("#box-d").fill("2");
    await page.waitForFunction(() => location.hash.includes("d=2x1"));
    const link = await page.evaluate(() => location.hash);
    const again = await open(link);
    assert.equal(await again.locator("#box-d").inputValue(), "2");
    assert.equal(await again.locator(".equation").innerText(), await page.locator(".equation").innerText());
    assert.equal(await again.evaluate(() => globalThis.upconv.linkOf(globalThis.upconv.stateOf(location.hash))), link);
    await close(page);
    await close(again);
  },
};
