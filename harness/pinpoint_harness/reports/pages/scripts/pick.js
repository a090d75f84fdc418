// Copy from `all` into `shown` the rows of the chosen run, radius and kind of slice, as far as `all` knows these.
const wanted = {run: run?.value, radius: radius?.value, by: by?.value};
const names = Object.keys(all.data);
const tests = names.filter((name) => wanted[name] !== undefined).map((name) => [all.data[name], wanted[name]]);
const kept = [...all.data[names[0]].keys()].filter((row) => tests.every(([column, value]) => String(column[row]) === value));
shown.data = Object.fromEntries(names.map((name) => [name, kept.map((row) => all.data[name][row])]));
if (plot && kept.length) { // a line for each row, with room for its label
  const lines = shown.data.y, lowest = Math.min(...lines);
  plot.height = 80 + 32 * (1 - lowest);
  plot.y_range.setv({start: lowest - 0.7, end: 0.75});
}
