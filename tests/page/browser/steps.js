// Every step: before an answer, after a wrong one, after the right one; the numbers that the story tells.
"use strict";
const assert = require("node:assert/strict");

const BEFORE = { 1: "2 6 4 1 3 2 3 9 6", 2: "2 6 4 1 3 2 3 9 6", 3: "2 6 5 3 5 9 6", 4: "6 5 3 5 9", 6: "2 0 6 1 4 3 3 2 9 0 6" };
const AFTER = { 1: "0 0 0 1 3 2 3 9 6", 2: "2 6 5 3 5 9 6", 3: "6 5 3 5 9", 4: "6 5 3 5 9 6", 6: "2 0 7 0 10 0 11 0 6" };
const THEN = { 2: "2 6 4 0 1 3 2 0 3 9 6", 4: "2 6 5 3 5 9 6 0" };

const output = (page) => page.locator(".stage .strip[data-values]").getAttribute("data-values");
const option = (page, at) => page.locator(".question input").nth(at);

async function answer(tools, step, lang, at) {
  const page = await tools.open(`#learn/${step}?lang=${lang}`);
  const words = await page.evaluate((which) => globalThis.upconv.STEPS[which[0]].steps[which[1] - 1], [lang, step]);
  const right = await page.evaluate((which) => globalThis.upconv.LESSONS[which - 1].right, step);
  assert.equal(await page.locator("h1:visible").innerText(), words.title);
  assert.equal(await page.locator(".outcome").innerText(), "");
  if (BEFORE[step]) assert.equal(await output(page), BEFORE[step]);
  await option(page, at).check();
  const told = (await page.locator(".outcome").innerText()).replace(/\u00a0/g, " ");
  const plain = (text) => text.replace(/`/g, "");
  assert.ok(told.includes(plain(words.options[at][1])), told);
  assert.ok(told.includes(plain(words.options[right][1])), told);
  assert.ok(told.includes(plain(words.rule)), told);
  if (AFTER[step]) assert.equal(await output(page), AFTER[step]);
  if (THEN[step]) {
    await page.locator(".outcome button").click();
    assert.equal(await output(page), THEN[step]);
  }
  await tools.close(page);
}

const everyAnswer = Object.fromEntries(["en", "ko"].flatMap((lang) => [1, 2, 3, 4, 5, 6, 7, 8].map((step) => [`step_${step}_${lang}`, async (tools) => {
  for (const at of [0, 1, 2]) await answer(tools, step, lang, at);
}])));

module.exports = {
  ...everyAnswer,

  async a_step_can_be_skipped({ open, close, text }) {
    const page = await open("#learn/1");
    await page.getByRole("button", { name: "Just show me" }).click();
    assert.match(await text(page, ".outcome"), /An input writes/);
    await page.getByRole("button", { name: "Stride →" }).click();
    assert.equal(await text(page, ".learn h1"), "Stride");
    assert.equal(await page.evaluate(() => location.hash), "#learn/2");
    await page.goBack();
    await page.waitForFunction(() => document.querySelector(".learn h1").innerText === "Stamp");
    await close(page);
  },

  async handles_move_the_picture_and_refuse_in_words({ open, close, text }) {
    const page = await open("#learn/4");
    await page.getByRole("button", { name: "increase output_padding" }).click();
    assert.equal(await output(page), "6 5 3 5 9 6");
    await page.getByRole("button", { name: "increase output_padding" }).click();
    assert.equal(await output(page), "6 5 3 5 9 6");
    assert.match(await text(page, ".stage .errortext"), /output_padding is 2; it must be below max\(stride, dilation\) = 2, so at most 1\./);
    assert.equal(await text(page, ".arrows .now"), "6 → 3");
    await close(page);
  },

  async on_a_phone_the_whole_canvas_is_seen({ open, close }) {
    for (const width of [320, 390]) {
      for (const step of [1, 2, 3, 4, 5, 6]) {
        const page = await open(`#learn/${step}?lang=ko`, { width, height: 844, touch: true });
        const cutOff = () => page.locator(".stage .fits").evaluateAll((boxes) => boxes.map((box) => box.scrollWidth - box.clientWidth).filter((wider) => wider > 0));
        assert.deepEqual(await cutOff(), [], `step ${step} at ${width}`);
        await option(page, 0).check();
        assert.deepEqual(await cutOff(), [], `step ${step} at ${width}, answered`);
        await close(page);
      }
    }
  },

  async the_wires_follow_the_width({ open, close }) {
    const page = await open("#learn/5", { width: 390, height: 844, touch: true });
    const misses = () => page.evaluate(() => {
      const left = document.querySelector(".wiring svg").getBoundingClientRect().left;
      const cells = [...document.querySelectorAll(".wiring .output")].map((cell) => cell.getBoundingClientRect());
      const ends = [...document.querySelectorAll(".wiring line")].map((line) => [line.o, left + Number(line.getAttribute("x1"))]);
      return ends.filter(([o, x]) => Math.abs(x - (cells[o].left + cells[o].right) / 2) > 2);
    });
    assert.deepEqual(await misses(), []);
    await page.setViewportSize({ width: 900, height: 844 });
    await page.waitForTimeout(400);
    assert.deepEqual(await misses(), []);
    await close(page);
  },

  async the_kernel_stands_above_its_stamps({ open, close }) {
    const page = await open("#learn/6");
    const colours = () => page.locator(".kernelline .chip").evaluateAll((chips) => new Set(chips.map((chip) => getComputedStyle(chip).backgroundColor)).size);
    assert.deepEqual(await page.locator(".kernelline .chip").allInnerTexts(), ["1", "3", "2"]);
    assert.equal(await colours(), 3);
    await option(page, 2).check();
    assert.equal(await colours(), 1);
    await close(page);
  },

  async drag_of_a_blade({ open, close }) {
    const page = await open("#learn/4");
    const blade = await page.locator(".stage .blade.hi").boundingBox();
    await page.mouse.move(blade.x + blade.width / 2, blade.y + 40);
    await page.mouse.down();
    await page.mouse.move(blade.x + blade.width / 2 + 44, blade.y + 40, { steps: 4 });
    await page.mouse.up();
    assert.equal(await output(page), "6 5 3 5 9 6");
    await close(page);
  },

  async drag_of_a_stamp({ open, close }) {
    const page = await open("#learn/2");
    const stamp = await page.locator(".stage .row.stamp").nth(2).locator(".cell").nth(1).boundingBox();
    await page.mouse.move(stamp.x + 20, stamp.y + 15);
    await page.mouse.down();
    await page.mouse.move(stamp.x + 20 - 2 * 44, stamp.y + 15, { steps: 4 });
    await page.mouse.up();
    assert.equal(await output(page), "2 6 5 3 5 9 6");
    await close(page);
  },

  async wires_carry_a_nudge({ open, close, text }) {
    const page = await open("#learn/5");
    const small = () => page.locator(".wiring .input").allInnerTexts();
    assert.deepEqual(await small(), ["?", "?", "?"]);
    await option(page, 1).check();
    assert.deepEqual(await small(), ["30", "24", "44"]);
    await page.locator(".wiring .output").nth(2).click();
    assert.equal(await page.locator(".wire.lit").count(), 2);
    await page.getByRole("button", { name: "increase chosen cell" }).click();
    assert.deepEqual(await small(), ["32", "25", "44"]);
    assert.match(await text(page, ".stage"), /0\s+2\s+0\s+1\s+0\s+3\s+0\s+0/);
    await close(page);
  },

  async counts_and_responses({ open, close, text }) {
    const page = await open("#learn/7");
    const cells = (which) => page.locator(".lightness").nth(which).locator(".cell").allInnerTexts();
    assert.deepEqual((await cells(0)).slice(8, 16).map(Number), [1, 2, 1, 2, 1, 2, 1, 1].map((count) => 2 * count));
    await option(page, 1).check();
    assert.deepEqual([...new Set((await cells(1)).slice(0, -1))].map(Number).filter((value) => [9, 12, 16].includes(value)).sort((a, b) => a - b), [9, 12, 16]);
    await page.locator(".stage select").selectOption({ index: 2 });
    assert.match(await text(page, ".stage"), /flat inside/);
    await page.getByRole("button", { name: "decrease kernel_size" }).click();
    await page.locator(".stage select").selectOption({ index: 1 });
    assert.match(await text(page, ".stage"), /Sums of the phases: 4, 4, 4, 4. All alike/);
    await close(page);
  },

  async channels_are_told_after_the_guess({ open, close, text }) {
    const page = await open("#learn/8");
    assert.equal(await page.locator(".blocks:visible").count(), 0);
    assert.equal(await page.locator(".wire").count(), 12);
    await option(page, 2).check();
    assert.match(await text(page, ".channels .mono"), /\(4, 3, 3, 3\)$/);
    await page.getByRole("button", { name: "increase groups" }).click();
    assert.match(await text(page, ".stage .errortext"), /in_channels is 4, which groups=3 does not divide; groups=2 would\./);
    await close(page);
  },

  async stamps_come_one_by_one_where_motion_is_welcome({ open, close }) {
    const page = await open("#learn/1", { motion: true });
    const waiting = () => page.locator(".stage .row.waiting").count();
    await page.locator(".stage .strip .cell").first().focus();
    await page.keyboard.press(",");
    assert.equal(await waiting(), 1);
    await page.keyboard.press(",");
    assert.equal(await waiting(), 2);
    await page.keyboard.press(".");
    assert.equal(await waiting(), 1);
    await page.keyboard.press(" ");
    assert.equal(await waiting(), 3);
    await page.waitForFunction(() => !document.querySelector(".stage .row.waiting"), null, { timeout: 5000 });
    await close(page);
  },

  async without_motion_there_is_before_and_after({ open, close, text }) {
    const page = await open("#learn/2");
    await option(page, 1).check();
    assert.equal(await page.locator(".before:visible .strip").count(), 1);
    assert.match(await text(page, ".before"), /2\s+6\s+4\s+1\s+3\s+2\s+3\s+9\s+6/);
    await close(page);
  },
};
