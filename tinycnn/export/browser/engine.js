"use strict";

/* The engine behind JavaScript functions: from a picture to faces, from a face to probabilities.
 *
 * model: the JSON that html_file.py puts into the page.  withVectors: take the engine with vector
 * instructions.  Rejects if the browser does not run it. */
async function openEngine(model, withVectors = true) {
  const code = bytesOf(withVectors ? model.engine : model.enginePlain);
  const { instance } = await WebAssembly.instantiate(code);
  const wasm = instance.exports;
  const bytes = () => new Uint8Array(wasm.memory.buffer); // made anew, as the memory may have grown

  function kept(content) {
    const block = wasm.reserve(content.length);
    bytes().set(content, block);
    return block;
  }

  wasm.open_network(kept(bytesOf(model.calls)), kept(bytesOf(model.weights)));
  if (model.cascade) {
    const block = kept(bytesOf(model.cascade));
    if (!wasm.open_cascade(block)) throw new Error("the cascade is too large");
  }
  const image = wasm.reserve(model.imageBytes);
  const ROWS = 64; // of a picture, converted together
  const picture = { block: 0, rgba: 0, grey: 0, width: 0, height: 0 };

  const engine = {
    /* Begin a new picture; `addRows` fills it. */
    setSize(width, height) {
      if (picture.width === width && picture.height === height) return;
      if (picture.block) wasm.give_back(picture.block);
      picture.block = picture.rgba = wasm.reserve(4 * width * ROWS);
      picture.grey = wasm.reserve(width * height);
      picture.width = width;
      picture.height = height;
    },

    /* rgba: the pixels of whole rows, from number firstRow on */
    addRows(rgba, firstRow) {
      const { width } = picture;
      const nRows = rgba.length / (4 * width);
      for (let r = 0; r < nRows; r += ROWS) {
        const end = Math.min(r + ROWS, nRows);
        bytes().set(rgba.subarray(4 * width * r, 4 * width * end), picture.rgba);
        wasm.to_grey(picture.rgba, width * (end - r), picture.grey + width * (firstRow + r));
      }
    },

    /* The faces, largest first: {x, y, side, score}.  area: {left, top, right, bottom} to search;
     * smallestPx: 0 for the usual size */
    findFaces(area = null, smallestPx = 0, leastScore = 1) {
      const { width, height } = picture;
      const { left, top, right, bottom } = area ?? { left: 0, top: 0, right: width, bottom: height };
      if (Math.min(right - left, bottom - top) < 1) return [];
      const n = wasm.find_faces(
        picture.grey, width, left, top, right, bottom, smallestPx, leastScore,
      );
      const numbers = new Float64Array(wasm.memory.buffer, wasm.faces(), 4 * n);
      const faces = [];
      for (let k = 0; k < 4 * n; k += 4) {
        const [x, y, side, score] = numbers.subarray(k, k + 4);
        faces.push({ x, y, side, score });
      }
      return faces;
    },

    /* The face as the network takes it: a copy of its grey pixels. */
    cutFace({ x, y, side }) {
      const { grey, width, height } = picture;
      const paper = model.framing === "paper" ? 1 : 0;
      wasm.cut_face(grey, height, width, x, y, side, paper, model.sizePx, image);
      return bytes().slice(image, image + model.imageBytes);
    },

    /* Logits of an image: bytes, as many as the network takes */
    logits(pixels) {
      bytes().set(pixels, image);
      const found = wasm.logits(image);
      return new Float32Array(wasm.memory.buffer, found, model.classes.length).slice();
    },

    /* softmax(logits / temperature) */
    probabilities(logits) {
      const largest = Math.max(...logits);
      const powers = Array.from(logits, (z) => Math.exp((z - largest) / model.temperature));
      const sum = powers.reduce((a, b) => a + b, 0);
      return powers.map((power) => power / sum);
    },

    /* Faces with their probabilities, from the picture. */
    answer(faces) {
      return faces.map((face) => ({
        ...face,
        probabilities: engine.probabilities(engine.logits(engine.cutFace(face))),
      }));
    },
  };
  return engine;
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
  return bytes;
}

/* The class with the largest probability, or "unsure" if that is below `unsureBelow`. */
function labelOf(probabilities, classes, unsureBelow) {
  const confidence = Math.max(...probabilities);
  return confidence < unsureBelow ? "unsure" : classes[probabilities.indexOf(confidence)];
}
