// Which photos pass every filter: their row numbers go into `passing`, on which everything else depends.
// Outcomes compare two runs on photos that both were asked about; the last class is of photos that were not.
const data = rows.data, n = data.lat.length, at = Number(radius.value);
const bandA = data[`band${a.value}`], bandB = data[`band${b.value}`], error = data[`error${a.value}`];
const unasked = radius.options.length + 2;
const [least, most] = slider.value, [first, last] = [slider.start, slider.end];
const step = (log10) => Math.round((log10 - Math.log10(least_km)) / (Math.log10(most_km) - Math.log10(least_km)) * steps);
const low = least <= first ? 0 : step(least), high = most >= last ? 65535 : step(most);
const sliced = Object.entries(slices).filter(([, one]) => one.value !== "").map(([by, one]) => [data[by], Number(one.value)]);
const box = region.data, boxed = box.west.length > 0;
const [west, east, south, north] = boxed ? [box.west[0], box.east[0], box.south[0], box.north[0]].map((x) => x * degree) : [];
const accept = {
  all: () => true,
  a_only: (x, y) => x <= at && y > at && y < unasked,
  b_only: (x, y) => y <= at && x > at && x < unasked,
  both_right: (x, y) => x <= at && y <= at,
  both_wrong: (x, y) => x > at && x < unasked && y > at && y < unasked,
  a_silent: (x) => x === unasked - 1,
}[outcome.value];
const found = new Int32Array(n);
let count = 0;
photo: for (let row = 0; row < n; row++) {
  if (!accept(bandA[row], bandB[row])) continue;
  if (error[row] < low || error[row] > high) continue;
  for (const [codes, wanted] of sliced) if (codes[row] !== wanted) continue photo;
  if (boxed && (data.lon[row] < west || data.lon[row] > east || data.lat[row] < south || data.lat[row] > north)) continue;
  found[count++] = row;
}
// Said even where the same photos pass: other runs or another radius are to be shown of them.
passing.setv({data: {row: found.slice(0, count)}}, {silent: true});
passing.properties.data.change.emit();
