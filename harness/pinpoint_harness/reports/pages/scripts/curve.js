// Error curves of the photos that pass, of the two runs; equal to the whole curves where all pass.
const data = rows.data, all = passing.data.row.length === data.lat.length;
for (const [run, source] of [[a.value, curve_a], [b.value, curve_b]]) {
  const error = data[`error${run}`], band = data[`band${run}`], asked = passing.data.row.filter((row) => band[row] < 7);
  const codes = Uint16Array.from(asked, (row) => error[row]).sort();
  let reached = 0;
  const share = [...grid_code].map((code) => {
    while (reached < codes.length && codes[reached] <= code) reached++;
    return codes.length ? 100 * reached / codes.length : NaN;
  });
  source.data = all ? {km: [], share: []} : {km: [...grid_km], share};
}
