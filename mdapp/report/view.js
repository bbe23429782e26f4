// The 3D view of a report: 3Dmol.js shows the frames that the page carries; a slider, a button and the table of events move through them.
(function () {
  "use strict";
  const box = document.getElementById("view");
  const data = JSON.parse(document.getElementById("scene").textContent);
  const say = text => { box.textContent = text; box.style.padding = "1rem"; box.style.height = "auto"; box.dataset.drawn = "no"; };

  const raw = Uint8Array.from(atob(data.positions), c => c.charCodeAt(0));
  const words = new DataView(raw.buffer);
  const n = data.symbols.length, nFrames = data.time_ps.length;
  const partners = Array.from({ length: n }, () => []);
  for (const [i, j] of data.bonds) { partners[i].push(j); partners[j].push(i); }
  const at = (frame, atom, axis) => data.step_A * words.getInt16(2 * (3 * (frame * n + atom) + axis), true);
  const atomsOf = frame => data.symbols.map((elem, i) => ({
    elem, atom: elem, serial: i, index: i, x: at(frame, i, 0), y: at(frame, i, 1), z: at(frame, i, 2),
    bonds: partners[i], bondOrder: partners[i].map(() => 1), properties: {}, hetflag: true }));

  let viewer, model;
  try {
    viewer = $3Dmol.createViewer(box, { backgroundColor: "white", antialias: true });
    model = viewer.addModel();
    model.addAtoms(atomsOf(0));
    for (let k = 0; k < nFrames; k++) model.addFrame(k ? atomsOf(k) : model.selectedAtoms({}));
  } catch (error) {
    say("This browser cannot draw in 3D (WebGL is off); the numbers and figures of the page are whole.");
    return;
  }
  const metals = data.bonds.length === 0;
  viewer.setStyle({}, metals ? { sphere: { scale: 0.45 } } : { stick: { radius: 0.12 }, sphere: { scale: 0.24 } });
  if (data.cell) {
    const [a, b, c] = data.cell, o = data.origin;
    const corner = (i, j, k) => ({ x: o[0] + i * a[0] + j * b[0] + k * c[0], y: o[1] + i * a[1] + j * b[1] + k * c[1], z: o[2] + i * a[2] + j * b[2] + k * c[2] });
    for (const [i, j] of [[0, 0], [0, 1], [1, 0], [1, 1]])
      for (const edge of [[[0, i, j], [1, i, j]], [[i, 0, j], [i, 1, j]], [[i, j, 0], [i, j, 1]]])
        viewer.addLine({ start: corner(...edge[0]), end: corner(...edge[1]), color: "#888888" });
  }

  const slider = document.getElementById("frame"), label = document.getElementById("when"), play = document.getElementById("play");
  const bonded = (frame, i, j) => Math.hypot(at(frame, i, 0) - at(frame, j, 0), at(frame, i, 1) - at(frame, j, 1), at(frame, i, 2) - at(frame, j, 2));
  const stretched = frame => data.bonds.filter(([i, j]) => Math.abs(bonded(frame, i, j) - bonded(0, i, j)) > 0.5).length;
  function show(frame) {
    slider.value = frame;
    const broken = stretched(frame);
    label.textContent = (data.labels.length ? data.labels[frame] : data.time_ps[frame].toPrecision(4) + " ps") + (broken ? ", " + broken + " bond" + (broken > 1 ? "s" : "") + " off by more than 0.5 Å" : "");
    return Promise.resolve(viewer.setFrame(frame)).then(() => viewer.render());
  }
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    timer = setInterval(() => show((Number(slider.value) + 1) % nFrames), data.labels.length ? 900 : 60);
  });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  for (const button of document.querySelectorAll("button[data-frame]"))
    button.addEventListener("click", () => { stop(); show(Number(button.dataset.frame)); box.scrollIntoView({ block: "center" }); });
  window.addEventListener("resize", () => { viewer.resize(); viewer.render(); });
  viewer.zoomTo();
  show(0).then(() => { box.dataset.drawn = "yes"; });
})();
