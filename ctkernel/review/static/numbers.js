// The side panel: card, indices, table, histogram. Everything shown was measured by the server.

const SHOWN_HU = [-1050, -500];

const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function showCard(card) {
  byId("card").hidden = false;
  byId("verdict").textContent = card.verdict;
  byId("verdict").className = card.light;
  byId("reasons").replaceChildren(...card.reasons.map((reason) => element("li", reason)));
  byId("facts").replaceChildren(...card.rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  byId("scan-line").textContent = card.rows.map(([, value]) => value).slice(0, 4).join("  ·  ");
}

export function showMeasurement(measurement) {
  byId("numbers").hidden = measurement === null;
  if (measurement === null) return;
  byId("at").textContent = `below ${measurement.threshold_hu} HU`;
  byId("indices").replaceChildren(...measurement.volumes.map(indexBox));
  const head = element("tr");
  head.append(element("th", "region"), ...measurement.columns.map((label) => element("th", label)));
  for (const cell of head.children) cell.scope = "col";
  byId("regions").tHead.replaceChildren(head);
  byId("regions").tBodies[0].replaceChildren(...measurement.volumes.flatMap((volume) => rowsOf(volume, measurement.columns.length)));
  byId("sentences").replaceChildren(...measurement.sentences.map((text) => element("li", text)));
  drawHistogram(measurement);
}

function indexBox(volume) {
  const box = element("div", undefined, volume.synthetic ? "index is-synthetic" : "index");
  const number = element("div", volume.ei_text, "number");
  number.append(element("small", " %"));
  const interval = element("div", volume.interval_text ?? "", "interval");
  box.append(element("div", volume.kind, "kind"), number, interval);
  return box;
}

function rowsOf(volume, columns) {
  const group = element("tr", undefined, volume.synthetic ? "group is-synthetic" : "group");
  const title = element("th", volume.kind);
  title.colSpan = columns + 1;
  title.scope = "rowgroup";
  group.append(title);
  const rows = volume.rows.map(([region, ...values]) => {
    const row = element("tr");
    const name = element("th", region);
    name.scope = "row";
    row.append(name, ...values.map((value) => element("td", value)));
    return row;
  });
  return [group, ...rows];
}

// The measured EI at another threshold, while the slider moves; the interval belongs to the measured one.
export function showMovedThreshold(measurement, threshold) {
  if (measurement === null) return;
  byId("at").textContent = `below ${threshold} HU`;
  measurement.volumes.forEach((volume, n) => {
    const box = byId("indices").children[n];
    box.querySelector(".number").firstChild.textContent = volume.ei_by_threshold[threshold - volume.first_threshold_hu];
    box.querySelector(".interval").textContent = threshold === measurement.threshold_hu ? volume.interval_text ?? "" : "";
  });
  const line = byId("histogram").querySelector(".threshold");
  if (line) place(line, threshold);
}

const X = (hu) => 24 + (310 * (hu - SHOWN_HU[0])) / (SHOWN_HU[1] - SHOWN_HU[0]);

function place(line, threshold) {
  line.setAttribute("x1", X(threshold));
  line.setAttribute("x2", X(threshold));
}

function drawHistogram(measurement) {
  const svg = byId("histogram");
  const add = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
    return made;
  };
  svg.replaceChildren();
  const edges = measurement.histogram_edges_hu;
  const highest = Math.max(...measurement.volumes.flatMap((volume) => volume.histogram_percent), 0.1);
  const Y = (percent) => 128 - (112 * percent) / highest;
  add("line", { x1: 24, x2: 334, y1: 128, y2: 128, class: "axis" });
  for (let hu = -1000; hu < SHOWN_HU[1]; hu += 100) add("text", { x: X(hu), y: 143, "text-anchor": "middle" }, hu);
  add("text", { x: 2, y: 12 }, `${highest.toFixed(1)} % of the lungs in 5 HU`);
  for (const volume of measurement.volumes) {
    const points = volume.histogram_percent.map((percent, n) => [(edges[n] + edges[n + 1]) / 2, percent]);
    const shown = points.filter(([hu]) => hu >= SHOWN_HU[0] && hu <= SHOWN_HU[1]);
    const text = shown.map(([hu, percent]) => `${X(hu).toFixed(1)},${Y(percent).toFixed(1)}`).join(" ");
    add("polyline", { points: text, class: volume.synthetic ? "synthetic" : "raw" });
  }
  place(add("line", { y1: 16, y2: 128, class: "threshold" }), measurement.threshold_hu);
  const words = measurement.volumes.map((volume) => `${volume.kind}: ${volume.ei_text} % below ${measurement.threshold_hu} HU`);
  svg.setAttribute("aria-label", `Histogram of the lungs' densities. ${words.join("; ")}`);
}
