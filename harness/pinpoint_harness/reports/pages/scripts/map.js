// What the map shows of the photos that pass: each one where few are in view, else one mark for each cell.
const MOST = 3000, CELLS = 90;
const data = rows.data, columns = {truth: "", a: a.value, b: b.value}[place.value];
const [lat, lon] = [data[`lat${columns}`], data[`lon${columns}`]];
const bandA = data[`band${a.value}`], bandB = data[`band${b.value}`], at = Number(radius.value);
const silent = radius.options.length + 1;
const outcomeOf = (row) => bandA[row] > silent || bandB[row] > silent ? 4 : 2 * (bandA[row] > at) + (bandB[row] > at);
const classOf = {a: (row) => bandA[row], b: (row) => bandB[row], both: outcomeOf}[colour.value];
const look = colour.value === "both" ? outcomes : bands;
const [west, east, south, north] = [x_range.start, x_range.end, y_range.start, y_range.end].map((x) => x * degree);
const number = new Intl.NumberFormat("en"); // once: toLocaleString makes one for each of thousands of cells
const chosen = passing.data.row, kept = new Int32Array(chosen.length);
let seen = 0;
for (let i = 0; i < chosen.length; i++) {
  const row = chosen[i];
  if (lon[row] >= west && lon[row] <= east && lat[row] >= south && lat[row] <= north) kept[seen++] = row;
}
const inView = kept.subarray(0, seen);
const found = {x: [], y: [], size: [], colour: [], marker: [], row: [], label: []};
const add = (x, y, size, kind, row, label) => {
  found.x.push(x / degree); found.y.push(y / degree); found.size.push(size); found.row.push(row);
  found.colour.push(look.colours[kind]); found.marker.push(look.markers[kind]); found.label.push(label);
};
if (inView.length <= MOST) {
  for (const row of inView) add(lon[row], lat[row], inView.length < 500 ? 9 : 6, classOf(row), row, look.names[classOf(row)]);
} else {
  const cell = 2 ** Math.ceil(Math.log2((east - west) / CELLS)), wide = Math.ceil((east - west) / cell) + 1;
  const kinds = look.names.length, cells = new Int32Array(wide * (Math.ceil((north - south) / cell) + 1) * kinds);
  for (let i = 0; i < seen; i++) {
    const row = inView[i], key = Math.floor((lat[row] - south) / cell) * wide + Math.floor((lon[row] - west) / cell);
    cells[key * kinds + classOf(row)]++;
  }
  for (let key = 0; key < cells.length / kinds; key++) {
    const counts = cells.subarray(key * kinds, (key + 1) * kinds), count = counts.reduce((sum, one) => sum + one);
    if (!count) continue;
    const kind = counts.indexOf(Math.max(...counts));
    const [x, y] = [west + (key % wide + 0.5) * cell, south + (Math.floor(key / wide) + 0.5) * cell];
    add(x, y, 4 + 4 * Math.log10(count), kind, -1, `${number.format(count)} photos, most: ${look.names[kind]}`);
  }
}
marks.data = found;
const text = inView.length <= MOST ? "each mark is a photo" : "each mark is a cell, larger for more photos, in the colour of its commonest class; a click zooms in";
document.getElementById(note).textContent = `${number.format(seen)} photos in view: ${text}.`;
