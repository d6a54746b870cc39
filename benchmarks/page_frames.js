"use strict";

/* node page_frames.js PAGE FRAMES WIDTH HEIGHT: the page's work for each frame of a camera, without
 * the browser's own: grey, search, faces, network.  FRAMES holds RGBA frames one after the other;
 * they are taken three times.  Prints JSON: the processor's milliseconds for a frame. */
const { readFileSync } = require("fs");

const [page, framesFile, width, height] = process.argv.slice(2).map((w) => (isNaN(w) ? w : Number(w)));
const html = readFileSync(page, "utf8");
const ROUNDS = 3;

function partOf(id) {
  const begin = html.indexOf(">", html.indexOf(`<script id="${id}"`)) + 1;
  return html.slice(begin, html.indexOf("</script>", begin));
}

async function main() {
  const source = `${partOf("engine")}\n${partOf("tracking")}\nreturn { openEngine, FaceTracker };`;
  const { openEngine, FaceTracker } = new Function(source)();
  const model = JSON.parse(partOf("model"));
  const bytes = readFileSync(framesFile);
  const size = 4 * width * height;
  const ms = {};
  for (const withVectors of [true, false]) {
    const engine = await openEngine(model, withVectors);
    const tracker = new FaceTracker(engine);
    let nFrames = 0;
    let nFaces = 0;
    const look = (k) => {
      engine.setSize(width, height);
      engine.addRows(bytes.subarray(k, k + size), 0);
      nFaces += engine.answer(tracker.find(width, height, nFrames / 60)).length;
      nFrames += 1;
    };
    for (let k = 0; k < bytes.length; k += size) look(k); // the browser compiles it meanwhile
    nFrames = nFaces = 0;
    const before = process.cpuUsage();
    for (let round = 0; round < ROUNDS; round++)
      for (let k = 0; k < bytes.length; k += size) look(k);
    const { user, system } = process.cpuUsage(before);
    ms[withVectors ? "with vectors" : "without"] = {
      ms: (user + system) / 1000 / nFrames,
      faces: nFaces / nFrames,
    };
  }
  console.log(JSON.stringify(ms));
}

main();
