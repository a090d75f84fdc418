// Error curves of the photos that pass, of the two runs; none where all pass, whose curves are there already.
const beyond = radius.options.length;
const data = rows.data, chosen = passing.data.row, all = chosen.length === data.lat.length;
for (const [run, source] of [[a.value, curve_a], [b.value, curve_b]]) {
  const error = data[`error${run}`], band = data[`band${run}`], counts = new Uint32Array(steps + 1);
  let asked = 0;
  for (let i = 0; i < chosen.length && !all; i++) {
    const row = chosen[i];
    if (band[row] > beyond + 1) continue;
    asked++;
    if (error[row] <= steps) counts[error[row]]++;
  }
  let reached = 0, next = 0;
  const share = Array.from(grid_code, (code) => {
    while (next <= code) reached += counts[next++];
    return asked ? 100 * reached / asked : NaN;
  });
  source.data = all ? {km: [], share: []} : {km: Array.from(grid_km), share};
}
