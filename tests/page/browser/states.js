// The states that the design names, each in both languages where words matter.
"use strict";
const assert = require("node:assert/strict");

const visible = (page, selector) => page.locator(`${selector}:visible`).count();

async function illegal({ open, close, text }, link, box, sentence, fixes, after) {
  const page = await open(link);
  const error = `#error-${box}`;
  assert.equal((await text(page, `${error} p`)).trim(), sentence);
  assert.equal(await page.getAttribute(`#box-${box}`, "aria-invalid"), "true");
  assert.equal(await page.getAttribute(`#box-${box}`, "aria-errormessage"), `error-${box}`);
  assert.equal(await visible(page, ".stale"), 1);
  assert.equal(await visible(page, ".drawing.dimmed"), 1);
  assert.deepEqual(await page.locator(`${error} button`).allInnerTexts(), fixes);
  await page.locator(`${error} button`).first().click();
  assert.equal(await visible(page, ".stale"), 0);
  assert.equal((await text(page, ".equation")).split(":")[0], after);
  await close(page);
}

module.exports = {
  async first_visit({ open, close, text }) {
    const page = await open();
    assert.equal(await visible(page, ".door"), 4);
    assert.deepEqual(await page.locator(".home .kernelline .chip").allInnerTexts(), ["1", "3", "2"]);
    assert.equal(await text(page, "h1"), "What a transposed convolution does");
    assert.match(await text(page, ".home .row.canvas"), /2\s+6\s+5\s+3\s+5\s+9\s+6/);
    await close(page);
    const korean = await open("", { locale: "ko-KR" });
    assert.equal(await korean.getAttribute("html", "lang"), "ko");
    assert.equal(await text(korean, "h1"), "전치 합성곱이 하는 일");
    await close(korean);
  },

  illegal_output_padding: (tools) => illegal(tools, "#explore?op=2", "op",
    "output_padding is 2; it must be below max(stride, dilation) = 2, so at most 1.", ["output_padding = 1", "stride = 3"], "2×2 → 4×4"),
  illegal_nothing_left: (tools) => illegal(tools, "#explore?p=3&op=0", "p",
    "the output size would be -1: the canvas has a size of 5, of which padding cuts (3, 3); it may cut at most 4 in all.", ["padding = 2", "input size = 3"], "2×2 → 1×1"),
  illegal_groups: (tools) => illegal(tools, "#explore?g=3&ci=4&co=6", "ci",
    "in_channels is 4, which groups=3 does not divide; groups=2 would.", ["groups = 2", "in_channels = 6"], "2×2 → 4×4"),
  illegal_zero: (tools) => illegal(tools, "#explore?s=0&op=0", "s", "stride is 0; it must be at least 1.", ["stride = 1"], "2×2 → 2×2"),

  async the_size_that_belongs_to_the_next_input({ open, close, text }) {
    const page = await open("#explore?n=16&op=2");
    assert.equal(await text(page, ".size.wrong"), "33");
    assert.match(await text(page, ".sizeline .errortext"), /^33 belongs to an input of 17, not 16/);
    await close(page);
  },

  async hole_and_beyond({ open, close, text }) {
    const page = await open("#explore?n=3&p=0&op=0&d=2&sel=o1.1");
    assert.equal(await text(page, ".equation"), "y[1,1] = 0");
    assert.match(await text(page, ".equationline .muted"), /No tap reaches it/);
    assert.ok(await visible(page, ".map.output .hole"));
    await close(page);
    const beyond = await open("#explore?p=0&op=1&sel=o5.5");
    assert.match(await text(beyond, ".equationline .muted"), /beyond the canvas/);
    assert.equal(await visible(beyond, ".map.output .beyond"), 11);
    await close(beyond);
  },

  async unusual_layers({ open, close, text }) {
    for (const [link, size] of [
      ["#explore?n=1&k=4&s=1&p=0&op=0", "1×1 → 4×4"], ["#explore?k=1&p=0&op=0", "2×2 → 3×3"], ["#explore?k=2&s=5&p=0&op=0", "2×2 → 7×7"],
      ["#explore?n=2x5&k=3x4&s=2x1&p=1x0&op=1x0", "2×5 → 4×8"], ["#explore?c=0:1", "2×2 → 4×4"], ["#explore?n=3&c=-1:2x0:-2", "3×3 → 6×9"],
    ]) {
      const page = await open(link);
      assert.equal((await text(page, ".equation")).split(":")[0], size, link);
      for (const button of await page.locator(".tabs").last().locator("[role=tab]").all()) if (await button.isVisible()) await button.click();
      await page.locator("[data-along=rows]").click();
      await close(page);
    }
  },

  async a_large_map_has_a_first_a_middle_and_a_last_part({ open, close, text }) {
    const page = await open("#explore?n=31&k=4&op=0");
    assert.match(await text(page, ".figure.output .note"), /^1[0-4] × 1[0-4] of 62 × 62 shown/);
    const cells = await page.locator("[role=gridcell]").count();
    assert.ok(cells <= 1500, `${cells} cells`);
    for (const [where, columns] of [["middle", /column 2[0-9]/], ["last", /column 61/]]) {
      await page.locator(".figure.output .parts > div").last().getByText(where).click();
      const labels = await page.locator(".map.output .cell").evaluateAll((found) => found.map((cell) => cell.getAttribute("aria-label")));
      assert.ok(labels.some((label) => columns.test(label)), where);
    }
    await close(page);
  },

  async what_a_link_chooses_is_in_sight({ open, close, text }) {
    for (const [sel, map, cell] of [["o30.61", "output", "output row 30, column 61"], ["o20.3", "output", "output row 20, column 3"], ["i29.16", "input", "input row 29, column 16"]]) {
      const page = await open(`#explore?n=31&k=4&op=0&sel=${sel}`);
      assert.ok((await page.locator(`.map.${map} .chosen`).getAttribute("aria-label")).startsWith(cell), sel);
      assert.ok(await page.locator(`.map.${map === "input" ? "output" : "input"} .partner`).count(), sel);
      await close(page);
    }
  },

  async the_wanted_size_is_twice_the_input_until_one_is_given({ open, close, text }) {
    const page = await open("#fix?n=20");
    assert.equal(await page.inputValue("#box-want"), "40");
    await page.locator("#box-want").fill("41");
    await page.locator(".field.n .step:visible").last().click();
    assert.equal(await page.inputValue("#box-want"), "41");
    assert.match(await text(page, ".least"), /21 already gives 41/);
    await close(page);
  },

  async groups_as_many_as_channels({ open, close, text }) {
    const page = await open("#explore?g=4&ci=4&co=4");
    await page.getByRole("tab", { name: "Channels" }).click();
    assert.match(await text(page, ".channels .mono"), /= \(4, 1, 3, 3\)$/);
    assert.equal(await page.locator(".channels .wire").count(), 4);
    await close(page);
  },

  async pinned({ open, close, text }) {
    const page = await open("#explore?sel=o1.1");
    assert.equal(await text(page, ".equation"), "y[1,1] = 1·1 + 2·2 + 3·1 + 1·1 = 9");
    const marks = await page.locator(".map.input .partner").evaluateAll((cells) => cells.map((cell) => cell.dataset.mark));
    assert.deepEqual(marks, ["1", "2", "3", "4"]);
    for (const view of [".strip:not(.read)", ".read", ".table"]) assert.ok(await visible(page, `.viewbox ${view} .chosen`), view);
    assert.equal(await visible(page, ".phases tr.chosen"), 1);
    await page.locator(".map.output .cell.output").nth(3).hover();
    assert.match(await text(page, ".equation"), /^y\[1,1\]/);
    await page.locator(".map.output .cell.output").nth(3).click();
    assert.match(await text(page, ".equation"), /^y\[0,3\]/);
    await page.keyboard.press("Escape");
    assert.match(await text(page, ".equation"), /^2×2/);
    await close(page);
  },

  async values_can_be_changed({ open, close, text }) {
    const page = await open("#explore?sel=o1.1");
    await page.locator(".map.input .cell").first().focus();
    await page.keyboard.press("5");
    assert.equal(await text(page, ".equation"), "y[1,1] = 5·1 + 2·2 + 3·1 + 1·1 = 13");
    await page.keyboard.press("-");
    assert.equal(await text(page, ".equation"), "y[1,1] = (−5)·1 + 2·2 + 3·1 + 1·1 = 3");
    await page.waitForFunction(() => location.hash.includes("x=-5,2,3,1"));
    await page.locator(".map.kernel .cell").first().click();
    await page.getByRole("button", { name: "increase w[0,0]" }).click();
    assert.equal(await text(page, ".equation"), "w[0,0] = 2");
    await close(page);
  },

  async empty_solver({ open, close, text }) {
    const page = await open("#fix?n=16&op=0&want=31&keep=k,s,p,op,d");
    assert.match(await text(page, ".least"), /16 already gives 31/);
    await page.locator("#box-want").fill("40");
    assert.match(await text(page, ".solver"), /0 settings/);
    assert.match(await text(page, ".solver"), /Nothing within these bounds/);
    await close(page);
  },

  async loading_is_undone_by_back({ open, close, text }) {
    const page = await open("#fix");
    await page.locator(".solutions button").nth(1).click();
    assert.equal(await page.inputValue("#box-k"), "4");
    await page.goBack();
    await page.waitForFunction(() => document.querySelector("#box-k").value === "3");
    await close(page);
  },

  async bad_link({ open, close, text }) {
    const page = await open("#explore?k=4&op=0&colour=red&s=two&x=1,2");
    const notices = await page.locator(".notices p").allInnerTexts();
    assert.equal(notices.length, 3);
    assert.match(notices.join(" "), /colour.*s=two.*x/s);
    assert.equal(await page.inputValue("#box-k"), "4");
    await close(page);
    const lost = await open("#nowhere");
    assert.match(await text(lost, ".notices"), /#nowhere/);
    await close(lost);
  },

  async no_javascript({ open, close, text }) {
    const page = await open("", { script: false });
    assert.equal(await text(page, "h1"), "What a transposed convolution does");
    assert.match(await text(page, "pre"), /full = \(n - 1\)\*s/);
    const picture = page.locator("noscript img, img");
    assert.ok((await picture.first().boundingBox()).height > 300);
    await close(page);
  },

  async copy_refused({ open, close }) {
    const page = await open("#explore");
    await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: { writeText: () => Promise.reject(new Error("no")) } }));
    await page.getByRole("button", { name: "Copy link" }).click();
    const shown = await page.locator(".copyfield").inputValue();
    assert.match(shown, /page\.html#explore$/);
    await close(page);
  },

  async print({ open, close }) {
    const page = await open("#explore?sel=o1.1");
    await page.emulateMedia({ media: "print" });
    assert.equal(await visible(page, ".tabs"), 0);
    assert.equal(await visible(page, ".views .tabpanel"), 4);
    assert.ok((await page.pdf()).length > 10000);
    await close(page);
  },

  async nothing_is_wider_than_the_window({ open, close, go, settle }) {
    const links = ["#", "#explore?sel=o1.1", "#explore?op=2", "#explore?n=31&k=4&op=0", "#fix", "#port", ...[1, 2, 3, 4, 5, 6, 7, 8].map((step) => `#learn/${step}`)];
    for (const width of [320, 390, 768, 900, 1280, 1920]) {
      const page = await open("#explore", { width, touch: width < 700 });
      for (const lang of ["en", "ko"]) {
        for (const link of links) {
          if (link === "#") continue;
          await go(page, `${link}${link.includes("?") ? "&" : "?"}lang=${lang}`);
          await settle(page).catch((error) => assert.fail(`${link} ${lang} at ${width}: ${error.message}`));
        }
      }
      await close(page);
    }
  },

  async the_most_is_the_lightest_on_any_paper({ open, close }) {
    for (const dark of [false, true]) {
      const page = await open("#learn/7", { dark });
      const lightness = await page.evaluate(() => [1, 4].map((count) => {
        const cell = [...document.querySelectorAll(".cell.light")].find((each) => each.textContent === String(count));
        return Number(getComputedStyle(cell).backgroundColor.match(/[0-9.]+/g)[0]);
      }));
      assert.ok(lightness[1] > lightness[0], `dark ${dark}: ${lightness}`);
      await close(page);
    }
  },

  async languages_are_equal({ open, close }) {
    const page = await open();
    const missing = await page.evaluate(() => {
      const { UI, SAY, STEPS } = globalThis.upconv;
      const keys = (each) => JSON.stringify(Object.entries(each).map(([key, value]) => [key, typeof value]).sort());
      const shape = (each) => JSON.stringify(each.steps.map((step) => [step.options.length, step.look.length, Boolean(step.then)]));
      return [keys(UI.en) === keys(UI.ko), keys(SAY.en) === keys(SAY.ko), shape(STEPS.en) === shape(STEPS.ko)];
    });
    assert.deepEqual(missing, [true, true, true]);
    await close(page);
  },
};
