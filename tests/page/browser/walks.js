// A new user's walks, counted in actions from the opened page.
"use strict";
const assert = require("node:assert/strict");

// Counts what is done; reading costs nothing.
function counter(page) {
  const walk = { actions: 0 };
  walk.click = async (locator) => {
    walk.actions += 1;
    await locator.click();
  };
  return walk;
}

module.exports = {
  async from_31_to_32_in_three_actions({ open, close, text }) {
    const page = await open();
    const walk = counter(page);
    await walk.click(page.locator(".door", { hasText: "Fix a size" }));
    assert.match(await text(page, ".least"), /16 gives 31 now; wanted is 32/);
    assert.match(await text(page, ".least"), /turns 31 and 32 alike into 16, so 16 alone cannot say which to give back/);
    assert.match(await text(page, ".least"), /Change least: output_padding 0 → 1/);
    await walk.click(page.getByRole("button", { name: "Use it" }));
    assert.match(await text(page, ".least"), /16 already gives 32/);
    assert.ok(walk.actions <= 3, `${walk.actions} actions`);
    console.log(`  ${walk.actions} actions`);
    await close(page);
  },

  async from_a_checkerboard_to_its_fix_in_four_actions({ open, close, text }) {
    const page = await open();
    const walk = counter(page);
    await walk.click(page.getByRole("link", { name: "Explore", exact: true }));
    await walk.click(page.getByRole("tab", { name: "Checkerboards" }));
    assert.match(await text(page, ".artefacts"), /take turns between 2 and 1 products, because s = 2 does not divide k = 3/);
    await walk.click(page.getByRole("button", { name: "kernel_size=4, stride=2, padding=1" }));
    assert.match(await text(page, ".artefacts"), /every inner output receives 2 products, because s = 2 divides k = 4/);
    assert.equal(await text(page, ".figure.output .note"), "4 × 4");
    assert.ok(walk.actions <= 4, `${walk.actions} actions`);
    console.log(`  ${walk.actions} actions`);
    await close(page);
  },

  async to_keras_in_three_actions({ open, close, text }) {
    const page = await open();
    const walk = counter(page);
    await walk.click(page.locator(".door", { hasText: "Port" }));
    await walk.click(page.getByRole("tab", { name: "Keras" }));
    assert.match(await text(page, ".code .badge:visible"), /shifted by 1/);
    assert.match(await text(page, ".code"), /Exact, with a cut afterwards/);
    assert.ok(walk.actions <= 3);
    await close(page);
  },
};
