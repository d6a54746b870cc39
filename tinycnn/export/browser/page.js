"use strict";

/* What the page does: camera, photos and films in; a picture with labelled faces and their
 * probabilities out. */
(() => {
  const MAX_PIXELS = 50_000_000; // of a photo, as `tinycnn predict` takes them
  const FRAME_PX = 640; // the long side of a frame of a film or camera
  const SHOWN_PX = 1280; // the long side of what is shown
  const ROWS = 256; // of a photo, read together
  const SHOWN_FACES = 12;

  const byId = (id) => document.getElementById(id);
  const model = JSON.parse(byId("model").textContent);
  const canvas = byId("canvas");
  const shown = canvas.getContext("2d");
  const video = document.createElement("video");
  const frame = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  video.muted = video.playsInline = true;

  let engine = null;
  let live = null; // of a camera or film: {tracker, smoothing, mirrored, times, spentMs}
  let last = null; // what is shown: {source, width, height, mirrored, faces}
  let turn = 0; // counts what was opened, so that a slow one does not replace a later one

  function say(text, isProblem = false) {
    byId("status").textContent = text;
    byId("status").classList.toggle("problem", isProblem);
  }

  // ---- what is shown ---------------------------------------------------------------------------

  const unsureBelow = () => Number(byId("unsure").value) / 100;
  const label = (face) => labelOf(face.probabilities, model.classes, unsureBelow());
  const percent = (p) => `${(100 * p).toFixed(0)}%`;
  const counted = (n) => (n === 1 ? "1 face" : `${n} faces`);

  function draw() {
    const { source, width, height, mirrored, faces } = last;
    const scale = Math.min(1, SHOWN_PX / Math.max(width, height));
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    byId("empty").hidden = true;
    shown.save();
    if (mirrored) shown.setTransform(-1, 0, 0, 1, w, 0);
    shown.fillStyle = "white";
    shown.fillRect(0, 0, w, h);
    shown.drawImage(source, 0, 0, w, h);
    shown.restore();
    const unit = Math.max(w, h) / 640;
    shown.lineWidth = 2.5 * unit;
    shown.font = `600 ${16 * unit}px system-ui, sans-serif`;
    shown.textBaseline = "top";
    faces.forEach((face, k) => {
      const side = face.side * scale;
      const x = (mirrored ? width - face.x - face.side : face.x) * scale;
      const y = face.y * scale;
      shown.strokeStyle = "black";
      shown.strokeRect(x - unit, y - unit, side + 2 * unit, side + 2 * unit);
      shown.strokeStyle = "white";
      shown.strokeRect(x, y, side, side);
      const text = `${k + 1}  ${label(face)}`;
      const textWidth = shown.measureText(text).width + 12 * unit;
      const left = Math.max(0, Math.min(x - unit, w - textWidth));
      const top = y >= 25 * unit ? y - 25 * unit : Math.min(y + side, h - 24 * unit);
      shown.fillStyle = "rgb(0 0 0 / 0.75)";
      shown.fillRect(left, top, textWidth, 24 * unit);
      shown.fillStyle = "white";
      shown.fillText(text, left + 6 * unit, top + 4 * unit);
    });
    const names = faces.map((face, k) => `face ${k + 1}: ${label(face)}`);
    canvas.setAttribute("aria-label", `The picture. ${names.join(", ") || "No face found"}`);
    list(faces);
  }

  function element(tag, className, parent, text = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    parent.append(made);
    return made;
  }

  /* One entry of the list, to be filled by `list`: its elements are made once and then changed. */
  function entry() {
    const box = element("div", "face", byId("list"));
    const head = element("h3", "", box);
    element("span", "number", head);
    element("span", "name", head);
    const bars = element("dl", "bars", box);
    for (const name of model.classes) {
      element("dt", "", bars, name);
      element("div", "bar", element("dd", "track", bars));
      element("dd", "share", bars);
    }
    return box;
  }

  function list(faces) {
    const boxes = byId("list").children;
    const n = Math.min(faces.length, SHOWN_FACES);
    while (boxes.length < n) entry();
    while (boxes.length > n) boxes[boxes.length - 1].remove();
    for (let k = 0; k < n; k++) {
      const { probabilities } = faces[k];
      const best = probabilities.indexOf(Math.max(...probabilities));
      boxes[k].querySelector(".number").textContent = k + 1;
      boxes[k].querySelector(".name").textContent = label(faces[k]);
      const [names, bars, shares] = ["dt", ".bar", ".share"].map((s) => boxes[k].querySelectorAll(s));
      probabilities.forEach((p, i) => {
        names[i].classList.toggle("best", i === best);
        bars[i].style.transform = `scaleX(${p})`;
        shares[i].textContent = percent(p);
      });
    }
    byId("none").hidden = n > 0 && n === faces.length;
    byId("none").textContent = faces.length
      ? `${counted(faces.length)}; the ${SHOWN_FACES} largest are listed.`
      : "No face found. The search finds upright faces seen from the front, of 24 pixels or more.";
  }

  // ---- photos ----------------------------------------------------------------------------------

  /* The picture in a file, upright, without a change of its colours. */
  async function decoded(file) {
    try {
      return await createImageBitmap(file, { colorSpaceConversion: "none" });
    } catch {
      return createImageBitmap(file); // a browser that does not know the option
    }
  }

  function read(bitmap) {
    const { width, height } = bitmap;
    engine.setSize(width, height);
    const strip = document.createElement("canvas");
    [strip.width, strip.height] = [width, Math.min(ROWS, height)];
    const pen = strip.getContext("2d", { willReadFrequently: true });
    for (let top = 0; top < height; top += ROWS) {
      const rows = Math.min(ROWS, height - top);
      pen.fillStyle = "white"; // below what is transparent
      pen.fillRect(0, 0, width, rows);
      pen.drawImage(bitmap, 0, -top);
      engine.addRows(pen.getImageData(0, 0, width, rows).data, top);
    }
  }

  async function openPhoto(file, own) {
    const bitmap = await decoded(file);
    if (own !== turn) return;
    const { width, height } = bitmap;
    if (width * height > MAX_PIXELS)
      throw new RangeError(`it has ${width} x ${height} pixels; the most is 50 million`);
    read(bitmap);
    const faces = engine.answer(engine.findFaces());
    last = { source: bitmap, width, height, mirrored: false, faces };
    draw();
    say(faces.length ? `${file.name}: ${counted(faces.length)}.` : `${file.name}: no face found.`);
  }

  // ---- films and cameras -----------------------------------------------------------------------

  const eachFrame = (done) =>
    video.requestVideoFrameCallback
      ? video.requestVideoFrameCallback(done)
      : requestAnimationFrame(done);

  function begin(mirrored) {
    live = {
      tracker: new FaceTracker(engine),
      smoothing: new ProbabilitySmoothing(),
      mirrored,
      times: [],
      spentMs: [],
    };
    for (const id of ["pause", "stop", "rate"]) byId(id).hidden = false;
    byId("pause").textContent = "Pause";
    byId("rate").textContent = "";
    const own = live;
    const next = () => {
      if (live !== own) return;
      if (!video.paused && video.readyState >= 2) lookAt();
      eachFrame(next);
    };
    eachFrame(next);
  }

  /* The faces of the frame that the video shows now. */
  function lookAt() {
    const start = performance.now();
    const scale = Math.min(1, FRAME_PX / Math.max(video.videoWidth, video.videoHeight));
    const width = Math.round(video.videoWidth * scale);
    const height = Math.round(video.videoHeight * scale);
    if (!width || !height) return;
    if (frame.canvas.width !== width || frame.canvas.height !== height)
      [frame.canvas.width, frame.canvas.height] = [width, height];
    frame.drawImage(video, 0, 0, width, height);
    engine.setSize(width, height);
    engine.addRows(frame.getImageData(0, 0, width, height).data, 0);
    const timeS = start / 1000;
    const found = engine.answer(live.tracker.find(width, height, timeS));
    const faces = live.smoothing.update(found, timeS);
    last = { source: frame.canvas, width, height, mirrored: live.mirrored, faces };
    draw();
    count(start);
  }

  function count(start) {
    const now = performance.now();
    live.times.push(now);
    live.spentMs.push(now - start);
    while (now - live.times[0] > 1000) live.times.shift();
    if (live.spentMs.length < 15) return;
    const ms = live.spentMs.reduce((a, b) => a + b) / live.spentMs.length;
    live.spentMs = [];
    byId("rate").textContent =
      `${live.times.length} frames a second; each takes ${ms.toFixed(1)} ms`;
  }

  function stop() {
    turn += 1;
    live = null;
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
    video.pause();
    if (video.src) {
      URL.revokeObjectURL(video.src);
      video.removeAttribute("src");
      video.load();
    }
    for (const id of ["pause", "stop", "rate"]) byId(id).hidden = true;
    return turn;
  }

  const CAMERA_PROBLEMS = {
    NotAllowedError: "The camera was not allowed. Allow it in the browser, or choose a photo or film.",
    NotFoundError: "There is no camera here. Choose a photo or film.",
    NotReadableError: "Another program is using the camera. Close it, or choose a photo or film.",
  };

  async function useCamera() {
    const own = stop();
    if (!navigator.mediaDevices?.getUserMedia) {
      say("This browser gives no camera to a page that is opened from a file. Choose a photo or film.", true);
      return;
    }
    say("Waiting for the camera ...");
    try {
      const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" };
      const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      if (own !== turn) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      video.srcObject = stream;
      stream.getVideoTracks()[0].onended = () => {
        if (own !== turn) return;
        stop();
        say("The camera was disconnected.", true);
      };
      await video.play();
      begin(true);
      say("The camera is on. Its pictures are not kept and do not leave this device.");
    } catch (error) {
      if (own !== turn) return;
      stop();
      say(CAMERA_PROBLEMS[error.name] ?? `The camera does not start (${error.name}). Choose a photo or film.`, true);
    }
  }

  async function openFilm(file, own) {
    video.src = URL.createObjectURL(file);
    await video.play();
    if (own !== turn) return;
    begin(false);
    say(`${file.name}: playing.`);
  }

  async function open(file) {
    if (!file || !engine) return;
    const own = stop();
    say(`${file.name}: opening ...`);
    try {
      await (file.type.startsWith("video/") ? openFilm : openPhoto)(file, own);
    } catch (error) {
      if (own !== turn) return;
      stop();
      const why = error instanceof RangeError ? error.message : "this browser cannot read it";
      say(`${file.name}: ${why}. Choose a JPEG or PNG photo, or an MP4 film.`, true);
    }
  }

  // ---- controls --------------------------------------------------------------------------------

  function showUnsure() {
    byId("unsure-value").textContent = percent(unsureBelow());
    if (last) draw();
  }

  function listen() {
    byId("unsure").value = Math.round(100 * model.unsureBelow);
    byId("unsure").addEventListener("input", showUnsure);
    showUnsure();
    byId("camera").addEventListener("click", useCamera);
    byId("choose").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", (event) => {
      open(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    });
    byId("stop").addEventListener("click", () => {
      stop();
      say("Stopped.");
    });
    byId("pause").addEventListener("click", () => {
      if (video.paused) video.play();
      else video.pause();
    });
    for (const event of ["play", "pause"])
      video.addEventListener(event, () => {
        byId("pause").textContent = video.paused ? "Go on" : "Pause";
      });
    video.addEventListener("ended", () => say("The film is over."));
    addEventListener("dragover", (event) => {
      event.preventDefault();
      byId("stage").classList.add("dropping");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) byId("stage").classList.remove("dropping");
    });
    addEventListener("drop", (event) => {
      event.preventDefault();
      byId("stage").classList.remove("dropping");
      const file = event.dataTransfer.files[0];
      if (file) open(file);
      else say("That was no file. Drop a photo or a film from this device.", true);
    });
  }

  async function start() {
    if (typeof WebAssembly !== "object") {
      say("This browser is too old for this page: it does not run WebAssembly.", true);
      return;
    }
    try {
      engine = await openEngine(model);
    } catch {
      try {
        engine = await openEngine(model, false); // without vector instructions
      } catch (error) {
        say(`This browser cannot run the network (${error.message}). Try a newer one.`, true);
        return;
      }
    }
    listen();
    byId("camera").disabled = byId("choose").disabled = false;
    say("Ready.");
  }

  start();
})();
