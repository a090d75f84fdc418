// The chosen photo: the ways from where it was taken to both answers, and a panel with its candidates.
const ids = () => (names.decoded ??= new TextDecoder().decode(names.data.utf8).split("\n"));
const store = names.cases ??= JSON.parse(document.getElementById(`${element}-cases`).textContent);
const data = rows.data, row = picked.data.row[0], panel = document.getElementById(`${element}-detail`);
const name = (choice) => choice.options.find(([value]) => value === choice.value)[1];
const place = (run) => [data[`lat${run}`][row] / degree, data[`lon${run}`][row] / degree];
const words = ([lat, lon]) => `${Math.abs(lat).toFixed(4)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(4)}° ${lon < 0 ? "W" : "E"}`;
const kilometres = (km) => `${km < 10 ? km.toPrecision(2) : Number(km.toPrecision(4)).toLocaleString("en")} km`;
const make = (tag, text, parent, kind) => {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  parent?.append(made);
  return made;
};
function way(from, to) { // along the great circle, with a gap where it crosses the edge of the map
  const xyz = ([lat, lon]) => [lat, lon].map((x) => x * Math.PI / 180), [p, q] = [xyz(from), xyz(to)];
  const unit = ([lat, lon]) => [Math.cos(lat) * Math.cos(lon), Math.cos(lat) * Math.sin(lon), Math.sin(lat)];
  const [u, v] = [unit(p), unit(q)], angle = Math.acos(Math.min(1, u.reduce((sum, x, i) => sum + x * v[i], 0)));
  const line = {x: [], y: []};
  for (let i = 0; i <= 60; i++) {
    const [s, t] = angle < 1e-6 ? [1 - i / 60, i / 60] : [Math.sin((1 - i / 60) * angle) / Math.sin(angle), Math.sin(i / 60 * angle) / Math.sin(angle)];
    const [x, y, z] = u.map((one, axis) => s * one + t * v[axis]), lon = Math.atan2(y, x) * 180 / Math.PI;
    if (i && Math.abs(lon - line.x.at(-1)) > 180) { line.x.push(NaN); line.y.push(NaN); }
    line.x.push(lon); line.y.push(Math.asin(z / Math.hypot(x, y, z)) * 180 / Math.PI);
  }
  return line;
}
function candidateList(run, parent) {
  const found = store.cases[row]?.runs[run];
  if (!found?.length) {
    make("p", found ? "This run names no candidates." : "Candidates of this photo are not in the report: it is none of the chosen ones.", parent, "hint");
    return;
  }
  const list = make("ol", "", parent, "candidates");
  for (const one of found) {
    const item = make("li", "", list);
    if (typeof one.picture === "number") Object.assign(make("img", "", item), {src: store.pictures[one.picture], alt: `candidate ${one.id}`});
    else make("span", one.picture, item, "no-picture");
    make("b", kilometres(one.km), item);
    if (one.probability !== null) make("span", `probability ${(100 * one.probability).toFixed(1)} %`, item);
    make("span", words(one.place), item);
    if (one.source) make("bdi", `${one.source} ${one.id}`, item);
    const near = Object.entries(one.support).map(([source, count]) => `${count.toLocaleString("en")} of ${source}`);
    if (near.length) make("span", `support within 25 km: ${near.join(", ")}`, item);
  }
}
if (row === undefined) {
  panel.replaceChildren();
  for (const one of [ways_a, ways_b, pins]) one.data = Object.fromEntries(Object.keys(one.data).map((key) => [key, []]));
} else {
  const beyond = radius.options.length, truth = place("");
  const answered = [a, b].map((choice) => data[`band${choice.value}`][row] <= beyond);
  [ways_a, ways_b].forEach((source, i) => (source.data = answered[i] ? way(truth, place([a, b][i].value)) : {x: [], y: []}));
  const ends = [truth, ...[a, b].filter((_, i) => answered[i]).map((choice) => place(choice.value))];
  const text = ["truth", ...["A", "B"].filter((_, i) => answered[i])];
  const close = (one, other) => Math.abs(one[0] - other[0]) < 1 && Math.abs(one[1] - other[1]) < 1;
  const labels = ends.map((end, i) => ends.findIndex((one) => close(one, end)) < i ? "" : text.filter((_, j) => close(ends[j], end)).join(", "));
  pins.data = {x: ends.map(([, lon]) => lon), y: ends.map(([lat]) => lat), text: labels};
  const head = make("h4", "Photo "), picture = store.cases[row]?.picture;
  make("bdi", ids()[row], head);
  const left = make("div", "", null, "query");
  if (typeof picture === "number") Object.assign(make("img", "", left), {src: store.pictures[picture], alt: "the photo asked about"});
  else make("span", picture ?? "no picture in this report", left, "no-picture");
  make("p", `Taken at ${words(truth)}.`, left);
  for (const [by, choice] of Object.entries(slices)) {
    const option = choice.options.find(([value]) => value === String(data[by][row]));
    if (option) make("p", `${by}: ${option[1]}`, left);
  }
  const answers = [a, b].map((choice, i) => {
    const part = make("section", "", null), band = data[`band${choice.value}`][row], code = data[`error${choice.value}`][row];
    make("h5", `${"AB"[i]}: ${name(choice)}`, part);
    const km = least_km * (most_km / least_km) ** (code / steps);
    make("p", band <= beyond ? `${kilometres(Number(km.toPrecision(3)))} away, at ${words(place(choice.value))}` : ["no answer", "not asked about this photo"][band - beyond - 1], part);
    candidateList(choice.value, part);
    return part;
  });
  panel.replaceChildren(head, left, ...answers);
}
