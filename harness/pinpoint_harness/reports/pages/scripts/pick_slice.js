// A click on a slice of the breakdown is a filter; a second click takes it away.
const [index] = shown.selected.indices;
if (index !== undefined) {
  const choice = slices[by.value], code = String(shown.data.code[index]);
  if (code !== "-1") choice.value = choice.value === code ? "" : code;
  shown.selected.indices = [];
}
