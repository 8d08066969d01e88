// node run_code.js page.html links.json: the code that the page shows for each layer and framework, as JSON.
"use strict";
const fs = require("node:fs");
const vm = require("node:vm");

const [, , page, links] = process.argv;
vm.runInThisContext(/<script>([^]*?)<\/script>/.exec(fs.readFileSync(page, "utf8"))[1]);
const up = globalThis.upconv;
const found = JSON.parse(fs.readFileSync(links, "utf8")).map((link) => {
  const { layer } = up.stateOf(link);
  const axes = [0, 1].map((axis) => up.axisAt(layer, axis));
  return Object.fromEntries(up.TARGETS.map((target) => {
    const code = up.codeOf(target, layer, ...axes);
    return [target, { lines: code.lines, exact: code.exact, badge: up.badgeOf(code.differences), command: up.commandOf(layer) }];
  }));
});
console.log(JSON.stringify(found));
