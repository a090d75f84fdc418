// Coordinates come in two parts, which pack better, and are put together once, before anything reads them.
for (const name of Object.keys(rows.data).filter((one) => one.endsWith("_high"))) {
  const high = rows.data[name], low = rows.data[name.slice(0, -"_high".length)];
  rows.data[name.slice(0, -"_high".length)] = Int32Array.from(low, (one, row) => high[row] * 65536 + one);
  delete rows.data[name];
}
