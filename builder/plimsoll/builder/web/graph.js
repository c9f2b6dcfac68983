"use strict";
// Packages in columns: what was asked for on the left, what it needs to its right.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 210, HEIGHT = 40, GAP_X = 70, GAP_Y = 14;
const $ = (id) => document.getElementById(id);
const svg = document.querySelector("svg");
let graphs = {}, graph, boxes, lines;

fetch("graph.json").then((answer) => answer.json()).then((value) => {
  document.querySelector("h1").textContent = document.title = value.title;
  graphs = value.archs;
  for (const name of Object.keys(graphs)) $("arch").append(new Option(name));
  draw();
});
for (const id of ["arch", "tree"]) $(id).addEventListener("change", draw);
$("find").addEventListener("input", find);

function element(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function firstWays(edges) {
  const reached = new Map();
  for (const edge of edges) if (!reached.has(edge.to)) reached.set(edge.to, edge);
  return [...reached.values()];
}

function depths(names, edges) {
  // The shortest way from the request decides the column, so that circles do no harm.
  const depth = new Map([["", 0]]);
  let front = [""];
  while (front.length) {
    const next = [];
    for (const name of front) for (const edge of edges) {
      if (edge.from === name && !depth.has(edge.to)) {
        depth.set(edge.to, depth.get(name) + 1);
        next.push(edge.to);
      }
    }
    front = next;
  }
  for (const name of names) if (!depth.has(name)) depth.set(name, 1);
  return depth;
}

function draw() {
  graph = graphs[$("arch").value];
  const edges = $("tree").checked ? firstWays(graph.edges) : graph.edges;
  const depth = depths(graph.packages.map((p) => p.name), edges);
  const rows = new Map();
  svg.replaceChildren();
  const head = element("marker", {
    id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7,
    markerUnits: "userSpaceOnUse", orient: "auto",
  }, element("defs", {}, svg));
  element("path", { d: "M0,0 L8,4 L0,8 z" }, head);
  boxes = new Map();
  lines = [];
  const layer = element("g", {}, svg);
  const places = new Map();
  for (const item of [...graph.packages].sort((a, b) => a.name.localeCompare(b.name))) {
    const column = depth.get(item.name);
    const row = rows.get(column) || 0;
    rows.set(column, row + 1);
    places.set(item.name, [(column - 1) * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y)]);
  }
  for (const edge of edges) {
    const from = places.get(edge.from), to = places.get(edge.to);
    if (!from || !to) continue;
    // What lies further left is reached from the left side, and entered on its right side.
    const back = from[0] > to[0];
    const x1 = from[0] + (back ? 0 : WIDTH), y1 = from[1] + HEIGHT / 2;
    const x2 = to[0] + (back || from[0] === to[0] ? WIDTH : 0), y2 = to[1] + HEIGHT / 2;
    const bend = (back ? -1 : 1) * Math.max(40, Math.abs(x2 - x1) / 2);
    // Within a column the line stays on the right side of the boxes.
    const d = from[0] === to[0]
      ? `M${x1},${y1} C${x1 + GAP_X},${y1} ${x2 + GAP_X},${y2} ${x2},${y2}`
      : `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
    const line = element("path", { d, class: "edge", "marker-end": "url(#head)" }, layer);
    element("title", {}, line, `${edge.from} needs ${edge.needs}`);
    lines.push([edge, line]);
  }
  const asked = new Set(edges.filter((edge) => edge.from === "").map((edge) => edge.to));
  for (const item of graph.packages) {
    const [x, y] = places.get(item.name);
    const kind = asked.has(item.name) ? "node asked" : "node";
    const box = element("g", { class: kind, tabindex: 0, transform: `translate(${x},${y})` }, svg);
    element("rect", { width: WIDTH, height: HEIGHT }, box);
    element("text", { x: 10, y: 17 }, box, clip(item.name));
    element("text", { x: 10, y: 32, class: "version" }, box, clip(item.version));
    element("title", {}, box, `${item.name} ${item.version}`);
    box.addEventListener("click", () => choose(item.name));
    box.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(item.name); });
    boxes.set(item.name, box);
  }
  svg.setAttribute("width", Math.max(...rows.keys(), 1) * (WIDTH + GAP_X));
  svg.setAttribute("height", Math.max(...rows.values(), 1) * (HEIGHT + GAP_Y));
  find();
}

function clip(text) { return text.length > 30 ? `${text.slice(0, 29)}…` : text; }

function reach(start, one, other) {
  const seen = new Set([start]);
  const todo = [start];
  while (todo.length) {
    const name = todo.pop();
    for (const [edge] of lines) if (edge[one] === name && !seen.has(edge[other])) {
      seen.add(edge[other]);
      todo.push(edge[other]);
    }
  }
  return seen;
}

function choose(name) {
  const down = reach(name, "from", "to"), up = reach(name, "to", "from");
  for (const [other, box] of boxes) {
    box.classList.toggle("chosen", other === name);
    box.classList.toggle("down", other !== name && down.has(other));
    box.classList.toggle("up", other !== name && up.has(other));
    box.classList.toggle("faded", !down.has(other) && !up.has(other));
  }
  for (const [edge, line] of lines) {
    const below = down.has(edge.from) && down.has(edge.to);
    const above = up.has(edge.from) && up.has(edge.to);
    line.classList.toggle("down", below);
    line.classList.toggle("up", above);
    line.classList.toggle("faded", !below && !above);
  }
  const why = graph.why[name] || [];
  const way = why.map((edge) => (edge.from ? `${edge.from} needs ${edge.needs}` : "asked for"));
  $("told").textContent = `${name}: ${way.join("; ") || "asked for"}. `
    + `It needs ${down.size - 1} packages; ${up.size - 1} need it.`;
}

function find() {
  const text = $("find").value.trim().toLowerCase();
  for (const [name, box] of boxes) {
    box.classList.toggle("found", text !== "" && name.toLowerCase().includes(text));
  }
  const first = [...boxes].find(([, box]) => box.classList.contains("found"));
  if (first) first[1].scrollIntoView({ block: "nearest", inline: "nearest" });
}
