"use strict";

/* node node_check.js PAGE IMAGES N_BYTES: runs both engines of a page on images, which follow one
 * another in a file, N_BYTES each.  Writes float32 numbers to stdout: for each engine, for each
 * image, the logits and the probabilities. */
const { readFileSync } = require("fs");

const [page, imagesFile, nBytes] = process.argv.slice(2);
const html = readFileSync(page, "utf8");

function partOf(id) {
  const begin = html.indexOf(">", html.indexOf(`<script id="${id}"`)) + 1;
  return html.slice(begin, html.indexOf("</script>", begin));
}

async function main() {
  const openEngine = new Function(`${partOf("engine")}\nreturn openEngine;`)();
  const model = JSON.parse(partOf("model"));
  const images = readFileSync(imagesFile);
  const answers = [];
  for (const withVectors of [true, false]) {
    const engine = await openEngine(model, withVectors);
    for (let k = 0; k < images.length; k += Number(nBytes)) {
      const logits = engine.logits(images.subarray(k, k + Number(nBytes)));
      answers.push(...logits, ...engine.probabilities(logits));
    }
  }
  process.stdout.write(Buffer.from(new Float32Array(answers).buffer));
}

main().catch((error) => {
  console.error(`Error: ${error.message}`);
  process.exitCode = 1;
});
