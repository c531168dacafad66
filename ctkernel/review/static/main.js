// The page: listens to the server, asks for steps, hands voxels to the pictures and numbers to the panel.

import { showCard, showMeasurement, showMovedThreshold } from "./numbers.js";
import { Views } from "./views.js";
import { Voxels } from "./voxels.js";

const byId = (id) => document.getElementById(id);
const page = { version: -1, voxels: null, review: null, busy: false, ended: false };
const views = new Views(byId("views"), showControls);

function say(text) {
  byId("message").textContent = text;
}

async function post(path, content) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
  await told(answer);
}

async function told(answer) {
  const content = await answer.json().catch(() => ({ error: `The server refused this (${answer.status}).` }));
  if (content.error) say(content.error);
  else if (content.step !== undefined) await showState(content);
}

async function leave() {
  await fetch("/api/leave", { method: "POST" });
  location.reload();
}

function connect() {
  const socket = new WebSocket(`ws://${location.host}/api/events`);
  socket.addEventListener("message", (event) => {
    const content = JSON.parse(event.data);
    if (content.start) showStart(content.start);
    else showState(content);
  });
  socket.addEventListener("close", () => {
    say("The connection to the server was lost. Is it still running? The page tries again.");
    setTimeout(connect, 2000);
  });
}

function showStart(start) {
  const list = byId("method");
  if (list.options.length > 0) return;
  for (const method of start.methods) {
    const option = new Option(method.name, method.name);
    option.dataset.text = method.text;
    list.add(option);
  }
  showMethod();
  const slider = byId("threshold");
  [slider.min, slider.max, slider.value] = [start.threshold.low, start.threshold.high, start.threshold.default];
}

function showMethod() {
  byId("method-text").textContent = byId("method").selectedOptions[0].dataset.text;
}

async function showState(state) {
  const { step } = state;
  page.busy = step !== null;
  byId("step").hidden = !page.busy;
  if (page.busy) {
    const of = step.total > 1 ? `: ${step.done} of ${step.total}` : "";
    const left = step.seconds_left ? `, about ${step.seconds_left} s left` : "";
    byId("step-text").textContent = `${step.name}. ${step.stage}${of}${left}`;
    const bar = byId("step-bar");
    if (step.total > 0) [bar.max, bar.value] = [step.total, step.done];
    else bar.removeAttribute("value");
  }
  for (const button of document.querySelectorAll("#normalize button, #open button")) button.disabled = page.busy;
  say(state.message);
  if (state.open && state.version !== page.version) {
    page.version = state.version;
    await showReview();
  }
}

async function showReview() {
  const answer = await fetch("/api/review");
  if (!answer.ok) return told(answer);
  const review = await answer.json();
  if (page.review !== null && review.version < page.review.version) return;
  const before = page.review;
  page.review = review;
  page.version = review.version;
  const measurement = review.measurement;
  byId("empty").hidden = true;
  showCard(review.card);
  showMeasurement(measurement);
  byId("normalize-part").hidden = review.volumes[0].synthetic;
  byId("downloads").hidden = measurement === null && review.volumes.length < 2;
  for (const link of document.querySelectorAll("[data-file]")) {
    link.href = `/api/download/${link.dataset.file}`;
    link.hidden = link.classList.contains("normalized-only") ? review.volumes.length < 2 : measurement === null;
  }
  // a slider that is being moved keeps its place; it is measured when it rests
  if (measurement !== null) setThreshold(settled === 0 ? measurement.threshold_hu : Number(byId("threshold").value));
  document.body.dataset.version = review.version;
  if (before === null || before.drawn !== review.drawn) await load(review, before);
}

// Voxels are asked for again only where the server has other ones.
async function load(review, before) {
  const sameScan = before !== null && before.opened === review.opened;
  const old = page.voxels;
  if (old) old.stop();
  const voxels = new Voxels(review.layout, () => views.draw());
  page.voxels = voxels;
  if (sameScan && old.loaded) voxels.volumes[0] = old.volumes[0];
  if (!sameScan) byId("open-part").open = false;
  views.show(voxels, review.volumes, sameScan);
  showControls();
  const middle = views.at.axial;
  if (!voxels.volumes[0]) await voxels.loadVolume(0, middle);
  if (review.measurement !== null) await voxels.loadLungs(middle);
  if (review.volumes.length > 1) await voxels.loadVolume(1, middle);
  if (page.voxels === voxels) document.body.dataset.loaded = review.drawn;
}

function showControls() {
  const { width, centre, overlay, second } = views.look;
  const list = byId("window");
  const preset = `${width},${centre}`;
  list.value = [...list.options].some((option) => option.value === preset) ? preset : "own";
  list.options[list.options.length - 1].hidden = list.value !== "own";
  byId("overlay").checked = overlay;
  byId("second").value = second;
}

function setThreshold(threshold) {
  views.look.threshold = threshold;
  byId("threshold").value = threshold;
  byId("threshold-text").textContent = `${threshold} HU`;
  if (page.review) showMovedThreshold(page.review.measurement, threshold);
  views.draw();
}

let settled = 0;
function measureSoon() {
  clearTimeout(settled);
  settled = setTimeout(() => {
    settled = 0;
    if (page.review && page.review.measurement) post("/api/threshold", { threshold_hu: Number(byId("threshold").value) });
  }, 400);
}

function moveThreshold(step) {
  const slider = byId("threshold");
  setThreshold(Math.max(Number(slider.min), Math.min(Number(slider.max), Number(slider.value) + step)));
  measureSoon();
}

function setLook(change) {
  Object.assign(views.look, change);
  showControls();
  views.draw();
}

function upload(files) {
  if (files.length === 0) return;
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  const request = new XMLHttpRequest();
  const told_ = new URLSearchParams({ kernel: byId("kernel").value, series: byId("series").value });
  request.open("POST", `/api/upload?${told_}`);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) say(`Sending: ${Math.round((100 * event.loaded) / event.total)} %`);
  });
  request.addEventListener("load", () => told(new Response(request.response, { status: request.status })));
  request.addEventListener("error", () => say("The files could not be sent; they may be larger than the server accepts."));
  request.send(form);
}

byId("open").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/api/open", { path: byId("path").value, kernel: byId("kernel").value, series: byId("series").value });
});
for (const id of ["files", "folder"]) {
  byId(id).addEventListener("change", (event) => {
    upload([...event.target.files]);
    event.target.value = "";
  });
}
byId("normalize").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/api/normalize", { method: byId("method").value });
});
byId("method").addEventListener("change", showMethod);
byId("cancel").addEventListener("click", () => post("/api/cancel", {}));
byId("second").addEventListener("change", (event) => setLook({ second: event.target.value }));
byId("window").addEventListener("change", (event) => {
  const [width, centre] = event.target.value.split(",").map(Number);
  setLook({ width, centre });
});
byId("overlay").addEventListener("change", (event) => setLook({ overlay: event.target.checked }));
byId("opacity").addEventListener("input", (event) => setLook({ opacity: event.target.value / 100 }));
byId("threshold").addEventListener("input", (event) => {
  setThreshold(Number(event.target.value));
  measureSoon();
});
byId("leave").addEventListener("click", leave);
byId("fit").addEventListener("click", () => views.fit());
byId("help-button").addEventListener("click", () => byId("help").showModal());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const actions = {
    e: () => setLook({ overlay: !views.look.overlay }),
    d: () => setLook({ second: views.look.second === "difference" ? "synthetic" : "difference" }),
    "0": () => views.fit(),
    "[": () => moveThreshold(-1),
    "]": () => moveThreshold(1),
  };
  if (actions[event.key]) actions[event.key]();
});
connect();
