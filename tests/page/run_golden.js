// node run_golden.js page.html golden.json: how many of the library's facts the page's script gets wrong.
"use strict";
const fs = require("node:fs");
const vm = require("node:vm");
const { checkGolden } = require("./check_golden.js");

const [, , page, golden] = process.argv;
const [, script] = /<script>([^]*?)<\/script>/.exec(fs.readFileSync(page, "utf8"));
vm.runInThisContext(script);
let wrong;
try {
  wrong = checkGolden(JSON.parse(fs.readFileSync(golden, "utf8")), globalThis.upconv);
} catch (error) {
  wrong = [{ what: error.stack }];
}
for (const each of wrong.slice(0, 5)) console.error(JSON.stringify(each));
console.log(wrong.length);
