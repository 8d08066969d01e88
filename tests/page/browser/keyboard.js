// Everything by the keyboard alone: what Tab reaches, what arrows, Enter and Esc do.
"use strict";
const assert = require("node:assert/strict");

// What can be used and can be seen, apart from the cells of a grid (one stop each) and the − and + of a number box,
// whose box answers to the arrow keys itself.
function stopsOf() {
  const shown = (el) => el.checkVisibility() && el.getClientRects().length > 0 && !el.disabled;
  const found = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0'], [role=grid]")].filter(shown);
  const name = (el) => el.id || el.getAttribute("aria-label") || el.innerText;
  const spare = (el) => (el.matches(".field .step") || (el.matches("[role=tab]") && el.tabIndex < 0) || (el.matches("input[type=radio]") && el !== document.querySelector(".question input")));
  return found.filter((el) => !spare(el) && !el.matches("[role=gridcell]")).map(name);
}

function focused() {
  const el = document.activeElement;
  const grid = el.closest("[role=grid]");
  const named = grid ?? el;
  return named === document.body ? null : named.id || named.getAttribute("aria-label") || named.innerText;
}

async function everythingIsReached({ open, close }, link) {
  const page = await open(link);
  const wanted = new Set(await page.evaluate(stopsOf));
  assert.ok(wanted.size > 5, `${link}: ${wanted.size} stops`);
  const reached = new Set();
  for (let presses = 0; presses < 150; presses++) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(focused);
    if (name === null && reached.size) break;
    reached.add(name);
  }
  assert.deepEqual([...wanted].filter((name) => !reached.has(name)), [], link);
  await close(page);
}

module.exports = {
  ...Object.fromEntries(["", "#explore?sel=i0.0", "#explore?op=2", "#explore?n=31x4&k=4&op=0", "#explore?g=2&ci=2&co=2", "#explore?c=0:1", "#fix", "#port", ...[1, 2, 3, 4, 5, 6, 7, 8].map((step) => `#learn/${step}`)]
    .map((link) => [`tab reaches all of ${link || "#"}`, (tools) => everythingIsReached(tools, link)])),

  async a_number_box_counts_by_arrows({ open, close, text }) {
    const page = await open("#explore");
    await page.focus("#box-k");
    await page.keyboard.press("ArrowUp");
    assert.match(await text(page, ".equation"), /^2×2 → 5×5/);
    for (const [box, sizes] of [["n", "3×3 → 7×7"], ["s", "3×3 → 9×9"], ["p", "3×3 → 7×7"], ["op", "3×3 → 8×8"], ["d", "3×3 → 11×11"]]) {
      await page.focus(`#box-${box}`);
      await page.keyboard.press("ArrowUp");
      assert.equal((await text(page, ".equation")).split(":")[0], sizes, box);
    }
    await close(page);
  },

  async a_refusal_is_mended({ open, close, text }) {
    const page = await open("#explore");
    await page.focus("#box-op");
    await page.keyboard.press("ArrowUp");
    assert.equal(await page.getAttribute("#box-op", "aria-invalid"), "true");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.inputValue("#box-op"), "1");
    await close(page);
  },

  async a_grid_is_walked_pinned_and_freed({ open, close, text }) {
    const page = await open("#explore");
    await page.locator(".map.output [tabindex='0']").focus();
    const at = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.match(await at(), /cut away/);
    await page.keyboard.press("Control+End");
    assert.equal(await at(), "output row 3, column 3, value 1, 1 product");
    assert.equal(await text(page, ".equation"), "y[3,3] = 1·1 = 1");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowLeft");
    assert.equal(await at(), "output row 1, column 1, value 9, 4 products");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator(".map.output [aria-selected=true]").count(), 1);
    await page.keyboard.press("Home");
    assert.match(await at(), /cut away/);
    assert.match(await text(page, ".equation"), /^y\[1,1\]/);
    await page.waitForFunction(() => location.hash.includes("sel=o1.1"));
    await page.keyboard.press("Escape");
    await page.keyboard.press("End");
    assert.match(await text(page, ".equation"), /^y\[1,3\]/);
    await page.keyboard.press("Control+Home");
    assert.match(await at(), /cut away/);
    await close(page);
  },

  async tabs_move_by_arrows({ open, close, text }) {
    const page = await open("#explore");
    const tabs = page.getByRole("tablist", { name: "More about this layer" });
    await tabs.locator("[aria-selected=true]").focus();
    for (const panel of ["Checkerboards", "Channels", "Solver", "Code"]) {
      await page.keyboard.press("ArrowRight");
      assert.equal(await page.evaluate(() => document.activeElement.innerText), panel);
      // A panel is drawn when it is first shown, which a busy machine does a little later.
      await page.locator(".lab > .tabpanels > .tabpanel:visible h2").getByText(panel, { exact: true }).waitFor();
    }
    await page.keyboard.press("Home");
    assert.equal(await page.evaluate(() => document.activeElement.innerText), "Size");
    await close(page);
  },

  async a_step_is_answered({ open, close, text }) {
    const page = await open("#learn/2");
    await page.locator(".question input").first().focus();
    await page.keyboard.press("ArrowDown");
    assert.match(await text(page, ".outcome"), /Stamps that meet add up/);
    await page.locator(".stage .handle button").last().focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.locator(".stage .strip[data-values]").getAttribute("data-values"), "2 6 4 1 3 2 3 9 6");
    await close(page);
  },

  async what_rests_is_spoken({ open, close }) {
    const page = await open("#explore");
    await page.locator(".map.output .cell.output").nth(5).focus();
    const voice = page.locator("[aria-live=polite].hidden");
    await page.waitForFunction(() => document.querySelector(".hidden[aria-live]").innerText.startsWith("y[1,1]"));
    assert.match(await voice.innerText(), /= 9 4 products/);
    await close(page);
  },
};
