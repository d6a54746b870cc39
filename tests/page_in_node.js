"use strict";

/* node page_in_node.js PAGE FOLDER: gives pictures to the engine of a page.
 *
 * FOLDER/pictures.json lists [name, width, height, withVectors]; FOLDER/NAME holds the RGBA bytes.
 * FOLDER/film.json, if there is one, lists the names of frames of one size, with times in seconds:
 * they are tracked.  Prints JSON: {pictures: [faces of each], film: [faces of each frame]}; a face
 * has its box, score, probabilities and logits, and as `pixels` what the network was given. */
const { readFileSync, existsSync } = require("fs");

const [page, folder] = process.argv.slice(2);
const html = readFileSync(page, "utf8");

function partOf(id) {
  const begin = html.indexOf(">", html.indexOf(`<script id="${id}"`)) + 1;
  return html.slice(begin, html.indexOf("</script>", begin));
}

const names = "openEngine, FaceTracker, ProbabilitySmoothing";
const source = `${partOf("engine")}\n${partOf("tracking")}\nreturn { ${names} };`;
const { openEngine, FaceTracker, ProbabilitySmoothing } = new Function(source)();
const model = JSON.parse(partOf("model"));

function show(engine, name, width, height) {
  const rgba = readFileSync(`${folder}/${name}`);
  engine.setSize(width, height);
  for (let top = 0; top < height; top += 100)
    engine.addRows(rgba.subarray(4 * width * top, 4 * width * Math.min(top + 100, height)), top);
}

async function main() {
  const engines = { true: await openEngine(model), false: await openEngine(model, false) };
  const pictures = [];
  for (const [name, width, height, withVectors] of JSON.parse(
    readFileSync(`${folder}/pictures.json`),
  )) {
    const engine = engines[withVectors];
    show(engine, name, width, height);
    const faces = engine.answer(engine.findFaces());
    for (const face of faces) {
      const pixels = engine.cutFace(face);
      face.pixels = [...pixels];
      face.logits = [...engine.logits(pixels)];
    }
    pictures.push(faces);
  }
  const film = [];
  if (existsSync(`${folder}/film.json`)) {
    const engine = engines.true;
    const tracker = new FaceTracker(engine);
    const smoothing = new ProbabilitySmoothing();
    const { frames, width, height } = JSON.parse(readFileSync(`${folder}/film.json`));
    for (const [name, timeS] of frames) {
      show(engine, name, width, height);
      const found = engine.answer(tracker.find(width, height, timeS));
      film.push(smoothing.update(found, timeS));
    }
  }
  console.log(JSON.stringify({ pictures, film }));
}

main();
