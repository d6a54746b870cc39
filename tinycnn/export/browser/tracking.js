"use strict";

/* Follows faces from frame to frame and smooths their probabilities, by the rules and with the
 * numbers of ferdata/films/tracking.py. */
const SMOOTHING_S = 0.3;
const SEARCH_EVERY = 5;
const KEPT_S = 0.5;
const OVERLAP = 0.3;
const AROUND = 2.0;
const SHRINK = 0.7;
const SMALLEST_PX = 24;

/* The area that two squares share, as a part of what both cover. */
function overlap(a, b) {
  const across = Math.min(a.x + a.side, b.x + b.side) - Math.max(a.x, b.x);
  const down = Math.min(a.y + a.side, b.y + b.side) - Math.max(a.y, b.y);
  const shared = Math.max(across, 0) * Math.max(down, 0);
  return shared / (a.side * a.side + b.side * b.side - shared);
}

/* As Python rounds: 2.5 becomes 2, 3.5 becomes 4. */
function roundedToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/* The faces of the frames of one film or camera, in turn. */
class FaceTracker {
  constructor(engine) {
    this.engine = engine;
    this.tracks = []; // {number, face, seenS}
    this.nFrames = this.nFaces = 0;
  }

  /* The faces of the picture that the engine has now, at `timeS` seconds, each with its number. */
  find(width, height, timeS) {
    this.tracks = this.tracks.filter((track) => timeS - track.seenS <= KEPT_S);
    const found = [];
    for (const track of this.tracks) {
      const near = this.near(track.face, width, height);
      if (near && found.every((face) => overlap(near, face) < OVERLAP)) found.push(near);
    }
    const whole = this.nFrames % SEARCH_EVERY === 0;
    if (whole || !found.length || found.length < this.tracks.length) {
      const before = found.slice();
      for (const face of this.engine.findFaces())
        if (before.every((other) => overlap(face, other) < OVERLAP)) found.push(face);
    }
    this.nFrames += 1;
    found.sort((a, b) => b.side - a.side || a.x - b.x);
    return this.numbered(found, timeS);
  }

  /* The face that was last at `last`, or null. */
  near(last, width, height) {
    const { x, y, side } = last;
    const reach = roundedToEven((side * (AROUND - 1)) / 2);
    const area = {
      left: Math.max(x - reach, 0),
      top: Math.max(y - reach, 0),
      right: Math.min(x + side + reach, width),
      bottom: Math.min(y + side + reach, height),
    };
    const smallestPx = Math.max(SHRINK * side, SMALLEST_PX);
    if (Math.min(area.right - area.left, area.bottom - area.top) < smallestPx) return null;
    let best = null;
    for (const face of this.engine.findFaces(area, smallestPx))
      if (!best || overlap(face, last) > overlap(best, last)) best = face;
    return best && overlap(best, last) >= OVERLAP ? best : null;
  }

  numbered(faces, timeS) {
    const pairs = [];
    this.tracks.forEach((track, i) => {
      faces.forEach((face, k) => pairs.push([overlap(track.face, face), i, k]));
    });
    pairs.sort((a, b) => b[0] - a[0] || a[1] - b[1] || a[2] - b[2]);
    const ofFace = new Map();
    const taken = new Set();
    for (const [shared, i, k] of pairs)
      if (shared >= OVERLAP && !taken.has(i) && !ofFace.has(k)) {
        taken.add(i);
        ofFace.set(k, this.tracks[i]);
      }
    return faces.map((face, k) => {
      let track = ofFace.get(k);
      if (!track) {
        this.nFaces += 1;
        track = { number: this.nFaces };
        this.tracks.push(track);
      }
      track.face = face;
      track.seenS = timeS;
      return { ...face, number: track.number };
    });
  }
}

/* s(t) = k s(t') + (1 - k) p(t),  k = exp(-(t - t') / SMOOTHING_S), for each face. */
class ProbabilitySmoothing {
  constructor() {
    this.last = new Map(); // number -> {timeS, probabilities}
  }

  update(faces, timeS) {
    const smoothed = faces.map((face) => {
      const before = this.last.get(face.number);
      if (!before) return face;
      const kept = Math.exp(-Math.max(timeS - before.timeS, 0) / SMOOTHING_S);
      const mixed = face.probabilities.map(
        (p, k) => kept * before.probabilities[k] + (1 - kept) * p,
      );
      return { ...face, probabilities: mixed };
    });
    for (const [number, { timeS: seenS }] of this.last)
      if (timeS - seenS > KEPT_S) this.last.delete(number);
    for (const { number, probabilities } of smoothed)
      this.last.set(number, { timeS, probabilities });
    return smoothed;
  }
}
