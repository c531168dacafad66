// One case at a time: image, score, next. What the page knows of a case is its position, size and spacing.

import { Viewer } from "/page/viewer.js";

const element = (id) => document.getElementById(id);
const form = element("form");
const radios = [...form.querySelectorAll("input[name=score]")];
const presets = [...document.querySelectorAll(".presets button")];
const viewer = new Viewer(element("view"), {
  window: element("window-text"), slice: element("slice-text"), zoom: element("zoom-text"),
  loading: element("loading-text"), scaleBar: element("scale-bar"),
});
const behind = document.querySelectorAll("main, aside");
const here = location.pathname;

let sitting = "";
let state = null;
let position = -1;
let saving = false;

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const answer = await fetch(here + path, { cache: "no-store", ...options, headers: { "X-Sitting": sitting, ...options.headers } });
  if (!answer.ok) {
    const text = await answer.text();
    let words = text;
    try {
      words = JSON.parse(text).error;
    } catch { /* plain words */ }
    throw new Refused(answer.status, words);
  }
  return answer;
}

async function openSitting() {
  uncover();
  try {
    const answer = await ask("sitting", { method: "POST" });
    state = await answer.json();
    sitting = state.sitting;
    if (state.finished) finish();
    else if (state.scored === 0) welcome();
    else await openCase(state.next);
  } catch (error) {
    explain(error);
  }
}

async function openCase(number) {
  const facts = await (await ask(`case/${number}`)).json();
  position = number;
  for (const radio of radios) radio.checked = Number(radio.value) === facts.score;
  element("number").textContent = number + 1;
  element("total").textContent = state.total;
  element("reader").textContent = state.reader;
  element("progress").max = state.total;
  element("progress").value = state.next;
  element("message").textContent = facts.score < 0 ? "" : "This case already has a score; a new one replaces it.";
  element("back").disabled = number === 0;
  element("save").disabled = facts.score < 0;
  element("view").focus({ preventScroll: true });
  viewer
    .show(facts.shape, facts.spacing_mm, async (k, signal) => (await ask(`case/${number}/${k}`, { signal })).arrayBuffer())
    .catch(explain);
}

async function save() {
  const chosen = radios.find((radio) => radio.checked);
  if (!chosen || saving) return;
  saving = true;
  element("save").disabled = true;
  try {
    const answer = await ask(`case/${position}/score`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ score: Number(chosen.value) }),
    });
    const wasFinished = state.finished;
    state = await answer.json();
    const following = position + 1;
    if (state.finished && (!wasFinished || following >= state.total)) finish();
    else await openCase(Math.min(following, state.next));
  } catch (error) {
    element("save").disabled = false;
    explain(error);
  } finally {
    saving = false;
  }
}

async function back() {
  if (position <= 0 || saving) return;
  try {
    await openCase(position - 1);
  } catch (error) {
    explain(error);
  }
}

function welcome() {
  cover(
    `${state.total} chest CT images`,
    "Each image is either an original reconstruction with a soft kernel, or a synthetic one that a program computed from a " +
      "sharp-kernel scan; a coin decided for every case. Scroll, set the window and zoom as you like, then say how certain you " +
      "are, from 0 to 5. There is no score for undecided. You may go back, and close the page and go on later.",
    "Start",
    () => openCase(0).catch(explain),
  );
}

function finish() {
  element("progress").max = element("progress").value = state.total;
  cover(
    "Done. Thank you.",
    `All ${state.total} cases are scored. Write down this receipt: the report shows it again, so that you can see that your ` +
      "scores were not changed.",
    "Look at the cases again",
    () => openCase(state.total - 1).catch(explain),
    state.receipt,
  );
}

function explain(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Refused && error.status === 409) {
    cover("Opened in another window", error.message + " Scores given here are kept.", "Go on here instead", openSitting);
  } else if (error instanceof Refused) {
    cover("This cannot be done", error.message, "Load the page again", openSitting);
  } else {
    cover("No connection", "The study's server does not answer. The scores that were saved are kept.", "Try again", openSitting);
  }
}

function cover(title, text, action, act, receipt = "") {
  element("cover-title").textContent = title;
  element("cover-text").textContent = text;
  element("receipt").textContent = receipt;
  const button = element("cover-button");
  button.textContent = action;
  button.onclick = () => {
    uncover();
    act();
  };
  element("cover").hidden = false;
  for (const part of behind) part.inert = true;
  button.focus();
}

function uncover() {
  element("cover").hidden = true;
  for (const part of ["title", "text", "button"]) element(`cover-${part}`).textContent = "";
  element("receipt").textContent = "";
  for (const part of behind) part.inert = false;
}

function choose(score) {
  const radio = radios.find((r) => Number(r.value) === score);
  radio.checked = true;
  element("save").disabled = saving;
}

const keys = {
  ArrowUp: () => viewer.move(1), ArrowDown: () => viewer.move(-1),
  PageUp: () => viewer.move(10), PageDown: () => viewer.move(-10),
  Home: () => viewer.move(1e6), End: () => viewer.move(-1e6),
  w: () => viewer.nextPreset(), f: () => viewer.fit(), b: back,
  "+": () => viewer.zoomBy(1.25), "-": () => viewer.zoomBy(0.8), Enter: save,
};

document.addEventListener("keydown", (event) => {
  if (!element("cover").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target instanceof HTMLButtonElement) return;
  if (/^[0-5]$/.test(event.key)) choose(Number(event.key));
  else if (keys[event.key.length === 1 ? event.key.toLowerCase() : event.key]) {
    keys[event.key.length === 1 ? event.key.toLowerCase() : event.key]();
  } else return;
  event.preventDefault();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
form.addEventListener("change", () => { element("save").disabled = saving; });
element("back").addEventListener("click", back);
for (const button of presets) {
  button.addEventListener("click", () => viewer.setWindow(Number(button.dataset.center), Number(button.dataset.width)));
}
element("view").addEventListener("drawn", () => {
  for (const button of presets) {
    const chosen = Number(button.dataset.center) === viewer.center && Number(button.dataset.width) === viewer.width;
    button.setAttribute("aria-pressed", String(chosen));
  }
});

openSitting();
