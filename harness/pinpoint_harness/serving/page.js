"use strict";
// Photos are sent one after another; what others wrote (names, ids, errors) becomes text and never markup.
const byId = (id) => document.getElementById(id);
const make = (tag, text, parent, kind) => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  parent?.append(made);
  return made;
};
const draw = (tag, attributes, parent) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
};
const printable = (name) => name.replace(/(?! )[\p{C}\p{Z}]/gu, "\ufffd"); // as the server shows it
const nameOf = (photo) => photo.told?.name ?? printable(photo.file.name);
const percent = (share) => share > 0 && share < 0.01 ? "<1 %" : share > 0.99 && share < 1 ? ">99 %" : `${(100 * share).toFixed(0)} %`;
const kilometres = (km) => `${km < 10 ? km.toFixed(1) : Math.round(km).toLocaleString("en")} km`;
const degrees = (latitude, longitude) => `${Math.abs(latitude).toFixed(5)}° ${latitude < 0 ? "S" : "N"}, ${Math.abs(longitude).toFixed(5)}° ${longitude < 0 ? "W" : "E"}`;

// ---- the map: a view of the middle x and y and the width, in degrees at the equator ----
const map = byId("map"), drawn = byId("drawn"), view = {x: 0, y: -20, width: 360}, home = {...view};
const paths = document.querySelectorAll(".land, .coast, .borders");
paths.forEach((path) => path.setAttribute("transform", "scale(0.01)"));
document.querySelectorAll(".world").forEach((copy) => copy.setAttribute("x", 360 * copy.dataset.turn));

function look(change) {
  Object.assign(view, change);
  view.width = Math.min(360, Math.max(0.05, view.width));
  view.y = Math.min(180, Math.max(-180, view.y));
  view.x = ((view.x + 540) % 360 + 360) % 360 - 180;
  const step = view.width / (map.clientWidth || 1), height = step * map.clientHeight;
  map.setAttribute("viewBox", `${view.x - view.width / 2} ${view.y - height / 2} ${view.width} ${height}`);
  for (const mark of drawn.querySelectorAll("[data-x]")) {
    const turn = 360 * Math.round((view.x - mark.dataset.x) / 360);
    mark.setAttribute("transform", `translate(${Number(mark.dataset.x) + turn} ${mark.dataset.y}) scale(${step})`);
    if (mark.dataset.reach) mark.style.display = mark.dataset.reach / step < 24 ? "none" : "";
  }
  for (const one of drawn.querySelectorAll(".circle")) {
    const turn = 360 * Math.round((view.x - one.dataset.near) / 360);
    one.setAttribute("transform", `translate(${turn} 0) scale(0.01)`);
  }
}
function zoom(factor) { look({width: view.width * factor}); }
function move(x, y) { look({x: view.x + x * view.width, y: view.y + y * view.width}); }
function near(told) { // a view that holds the answer, the candidates and the truth
  const [x, y] = told.at, spots = [told.at, ...told.candidates.map((one) => one.at), ...(told.truth.at ? [told.truth.at] : [])];
  const xs = spots.map((one) => x + ((one[0] - x + 540) % 360 + 360) % 360 - 180), ys = spots.map((one) => one[1]);
  const [west, east, north, south] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const shape = map.clientWidth / map.clientHeight;
  return {x: (west + east) / 2, y: (north + south) / 2, width: Math.max(6, 1.5 * (east - west), 1.6 * shape * (south - north))};
}
function mark([x, y], reach) {
  return draw("g", {"data-x": x, "data-y": y, ...(reach ? {"data-reach": reach} : {})}, drawn);
}
function drawAnswer(told) {
  drawn.replaceChildren();
  for (const one of told.circles) {
    draw("path", {class: "circle", d: one.path, "data-near": told.at[0]}, drawn);
    draw("text", {class: "share", y: -4}, mark([told.at[0], one.top], told.at[1] - one.top)).textContent = `${one.km} km: ${percent(one.probability)}`;
  }
  if (told.truth.at) draw("circle", {class: "truth", r: 15}, mark(told.truth.at));
  [...told.candidates.entries()].reverse().forEach(([at, one]) => {
    const spot = mark(one.at);
    draw("circle", {class: "candidate", r: 9}, spot);
    draw("text", {class: "rank", y: 4}, spot).textContent = at + 1;
  });
  if (told.at) draw("path", {class: "pin", d: "M0-8C-3-16-9-20-9-27A9 9 0 1 1 9-27C9-20 3-16 0-8Z"}, mark(told.at));
  Object.assign(home, told.at ? near(told) : {x: 0, y: -20, width: 360});
  look(home);
}
document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));
byId("fit").addEventListener("click", () => look(home));
byId("whole").addEventListener("click", () => look({x: 0, y: -20, width: 360}));
map.addEventListener("keydown", (event) => {
  const act = {
    ArrowLeft: () => move(-0.1, 0), ArrowRight: () => move(0.1, 0), ArrowUp: () => move(0, -0.1), ArrowDown: () => move(0, 0.1),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => look(home), w: () => byId("whole").click(),
  }[event.key];
  if (act && !event.ctrlKey && !event.metaKey) { act(); event.preventDefault(); }
});
map.addEventListener("wheel", (event) => {
  if (event.ctrlKey) { zoom(2 ** (event.deltaY / 200)); event.preventDefault(); }
}, {passive: false});
map.addEventListener("pointerdown", (event) => map.setPointerCapture(event.pointerId));
map.addEventListener("pointermove", (event) => {
  if (map.hasPointerCapture(event.pointerId)) move(-event.movementX / map.clientWidth, -event.movementY / map.clientWidth);
});
addEventListener("resize", () => look());

// ---- photos and their answers ----
const photos = []; // {file, url, item, told, problem, waits}
let chosen = null, busy = false;
const choice = () => byId("method").selectedOptions[0];

function add(files) {
  for (const file of files) {
    const photo = {file, url: URL.createObjectURL(file), waits: true};
    photo.item = make("button", "", make("li", "", byId("photos")), "card");
    photo.item.type = "button";
    photo.item.addEventListener("click", () => choose(photo));
    photos.push(photo);
    list(photo);
  }
  work();
}
function preview(photo, parent, alt) {
  const image = make("img", "", parent);
  image.alt = alt;
  image.addEventListener("error", () => image.replaceWith(make("span", "no preview of this kind of file", null, "no-picture")));
  image.src = photo.url;
}
function list(photo) {
  photo.item.replaceChildren();
  preview(photo, photo.item, "");
  make("bdi", nameOf(photo), photo.item);
  const found = photo.told?.document.photos[0];
  if (photo.waits) make("span", "waits", photo.item);
  else if (found?.latitude != null) make("span", degrees(found.latitude, found.longitude), photo.item);
  else make("span", photo.problem?.problem ?? found.status, photo.item, "failed");
  photo.item.setAttribute("aria-pressed", photo === chosen);
}
async function ask(photo) {
  const most = Number(document.body.dataset.mostBytes);
  if (photo.file.size > most) return {problem: `the photo has more than ${most.toLocaleString("en")} bytes`, fix: "make it smaller"};
  const query = new URLSearchParams({method: choice().value, name: photo.file.name.slice(0, 255)});
  const author = byId("author").value.trim();
  if (author && !byId("author").disabled) query.set("author", author);
  try {
    const headers = {"Content-Type": "application/octet-stream"};
    const response = await fetch(`answers?${query}`, {method: "POST", headers, body: photo.file});
    return await response.json();
  } catch (error) {
    return {problem: "the server did not answer", found: String(error), fix: "see whether pinpoint serve still runs, then ask again"};
  }
}
async function work() {
  if (busy) return;
  busy = true;
  for (let photo; (photo = photos.find((one) => one.waits)); ) {
    byId("state").textContent = `Asking ${choice().value} about ${nameOf(photo)} …`;
    const said = await ask(photo);
    photo.waits = false;
    [photo.told, photo.problem] = said.document ? [said, null] : [null, said];
    list(photo);
    if (!chosen || chosen === photo) choose(photo);
  }
  busy = false;
  const placed = photos.filter((one) => one.told?.at).length;
  byId("state").textContent = photos.length ? `${placed} of ${photos.length} photos got a place.` : "No photo yet.";
  byId("again").disabled = !photos.length;
  byId("download").disabled = !chosen?.told;
}
function choose(photo) {
  const last = chosen;
  chosen = photo;
  for (const one of [last, photo]) if (one) list(one);
  byId("download").disabled = !photo.told;
  const said = byId("said"), details = byId("details");
  said.replaceChildren();
  details.replaceChildren();
  const box = make("section", "", said, "said"), head = make("h2", "", box);
  make("bdi", nameOf(photo), head);
  preview(photo, make("div", "", box), "the photo asked about");
  const words = make("div", "", box);
  drawn.replaceChildren();
  if (photo.told) tell(photo.told, words, details);
  else if (photo.problem) for (const line of [photo.problem.problem, photo.problem.found, photo.problem.fix]) if (line) make("p", line, words, "failed");
  if (!photo.told && !photo.problem) make("p", "It waits for its turn.", words);
}
function tell(told, words, details) {
  const found = told.document.photos[0], seconds = told.seconds;
  byId("notes").replaceChildren(...told.document.notes.map((note) => make("p", `${note[0].toUpperCase()}${note.slice(1)}.`)));
  if (told.at) {
    make("p", degrees(found.latitude, found.longitude), words, "place");
    const link = make("a", "Look at it on OpenStreetMap (leaves this page)", make("p", "", words));
    Object.assign(link, {href: found.link, target: "_blank", rel: "noreferrer noopener"});
    probabilities(found.confidence_within_km, words);
  } else make("p", `No place: ${found.status}.`, words, "failed");
  truth(told.truth, words);
  if (told.left_out !== null) make("p", told.left_out ? `${told.left_out.toLocaleString("en")} gallery photos by ${told.document.made.author} were left out.` : `The gallery has no photo by ${told.document.made.author}: nothing was left out.`, words);
  const loading = seconds.loading > 0.05 ? `, loading the method ${seconds.loading.toFixed(1)} s` : "";
  make("p", `By ${told.document.method}: ${seconds.answering.toFixed(2)} s${loading}${seconds.waiting > 0.05 ? `, waiting ${seconds.waiting.toFixed(1)} s` : ""}.`, words, "hint");
  candidates(told, found.candidates, details);
  drawAnswer(told);
  const say = told.at ? `The answer at ${degrees(found.latitude, found.longitude)} and ${found.candidates.length} candidates` : "No answer";
  byId("map-text").textContent = `${say}, on a map. Drag it, or use the arrow keys and + and − on it; 0 shows the candidates, W the world; the wheel zooms with Ctrl.`;
}
function probabilities(within, parent) {
  if (!within) { make("p", "This method reports no probabilities.", parent); return; }
  const table = make("table", "", parent), caption = make("caption", "How probable it is that the photo was taken within", table, "hint");
  caption.style.textAlign = "left";
  const radii = make("tr", "", make("thead", "", table)), shares = make("tr", "", make("tbody", "", table));
  for (const [km, share] of Object.entries(within)) {
    make("th", `${km} km`, radii).scope = "col";
    make("td", percent(share), shares, "figure");
  }
}
function truth(told, parent) {
  if (told.reason) { make("p", `Where it says that it was taken: nothing to be used (${told.reason}).`, parent, "hint"); return; }
  const far = told.error_km === null ? "" : `, ${kilometres(told.error_km)} from the answer`;
  make("p", `The photo itself says (${told.origin}): ${degrees(told.latitude, told.longitude)}${far}. The method was not shown this.`, parent);
  if (told.is_void) make("p", "The receiver marked that position as void.", parent, "hint");
}
const fetched = new Map(); // pictures by address: {src} or {problem}
function picture(address) {
  if (!fetched.has(address)) fetched.set(address, (async () => {
    const response = await fetch(address);
    return response.ok ? {src: URL.createObjectURL(await response.blob())} : await response.json();
  })().catch(() => ({problem: "the server did not answer"})));
  return fetched.get(address);
}
function candidates(told, found, parent) {
  make("h3", "Candidates", parent);
  if (!found.length) { make("p", "This method names none.", parent, "hint"); return; }
  const items = make("ol", "", parent, "candidates");
  found.forEach((one, at) => {
    const shown = told.candidates[at], item = make("li", "", items);
    const place = make("span", shown.picture ? "…" : "a place, not a photo", item, "no-picture");
    if (shown.picture) picture(shown.picture).then((got) => {
      if (!got.src) { place.textContent = got.problem; return; }
      const image = make("img", "");
      Object.assign(image, {src: got.src, alt: `candidate ${at + 1}, photo ${shown.photo_id}`});
      place.replaceWith(image);
    });
    make("b", `${at + 1}. ${one.probability === null ? "" : percent(one.probability)}`, item);
    make("span", `${degrees(one.latitude, one.longitude)}, ${kilometres(one.distance_km)} from the answer`, item);
    if (shown.source) make("bdi", `${shown.source} ${shown.photo_id}`, item, "hint");
    const support = Object.entries(shown.support).map(([source, count]) => `${count.toLocaleString("en")} of ${source}`);
    if (support.length) make("span", `support within ${told.support_km} km: ${support.join(", ")}`, item, "hint");
  });
}
function offer() {
  const filters = choice().dataset.filters === "yes";
  byId("author").disabled = !filters;
  byId("author-hint").textContent = filters ? "Spelled as in the gallery; empty: nothing is left out." : "This method cannot leave anybody out.";
}

byId("ask").addEventListener("submit", (event) => event.preventDefault());
byId("files").addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
byId("method").addEventListener("change", offer);
byId("again").addEventListener("click", () => {
  for (const photo of photos) { photo.waits = true; list(photo); }
  work();
});
byId("download").addEventListener("click", () => {
  // As `pinpoint locate --json` prints it: all photos that were answered as the chosen one was.
  const {photos: _, ...head} = chosen.told.document, same = JSON.stringify(head);
  const mine = photos.filter(({told}) => told && JSON.stringify((({photos: _, ...rest}) => rest)(told.document)) === same);
  const text = JSON.stringify({...head, photos: mine.flatMap(({told}) => told.document.photos)}, null, 2);
  const link = make("a", "");
  Object.assign(link, {href: URL.createObjectURL(new Blob([text], {type: "application/json"})), download: "answers.json"});
  link.click();
  URL.revokeObjectURL(link.href);
});
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  add([...event.dataTransfer.files]);
});
offer();
look();
