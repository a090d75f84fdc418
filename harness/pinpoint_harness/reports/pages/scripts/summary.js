// The selection in figures: how many of it lie in each class of error, by each of the two runs.
const data = rows.data, at = Number(radius.value), total = passing.data.row.length, n = data.lat.length;
const classes = radius.options.length + 2; // within each radius, beyond, no answer
const name = (choice) => choice.options.find(([value]) => value === choice.value)[1];
const percent = (count, of) => of ? `${(100 * count / of).toFixed(1)} %` : "–";
const counts = [a, b].map((choice) => {
  const found = new Uint32Array(classes + 1), band = data[`band${choice.value}`], chosen = passing.data.row;
  for (let i = 0; i < chosen.length; i++) found[band[chosen[i]]]++;
  return Array.from(found);
});
const asked = counts.map((one) => one.slice(0, classes).reduce((sum, count) => sum + count, 0));
const right = counts.map((one) => one.slice(0, at + 1).reduce((sum, count) => sum + count, 0));
const put = (cell, text) => (cell.textContent = text);
const table = document.getElementById(`${element}-classes`);
[a, b].forEach((choice, run) => {
  put(table.tHead.rows[0].cells[run + 1], `${"AB"[run]}: ${name(choice)}`);
  for (let kind = 0; kind < classes; kind++) {
    put(table.tBodies[0].rows[kind].cells[run + 1], `${counts[run][kind].toLocaleString("en")} (${percent(counts[run][kind], asked[run])})`);
  }
});
const sentence = `${total.toLocaleString("en")} of ${n.toLocaleString("en")} photos selected. Right within ${radius_km[at]} km: `
  + [a, b].map((choice, run) => `${"AB"[run]}, ${name(choice)}, ${right[run].toLocaleString("en")} of ${asked[run].toLocaleString("en")} (${percent(right[run], asked[run])})`).join("; ")
  + (total < n ? ". A selection is looked at, not tested: only the whole dataset is ranked." : ".");
put(document.getElementById(`${element}-sentence`), sentence);
