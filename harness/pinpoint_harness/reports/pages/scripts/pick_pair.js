// A click on a difference chooses its two runs.
const [index] = shown.selected.indices;
if (index !== undefined) {
  a.value = String(shown.data.first[index]);
  b.value = String(shown.data.second[index]);
  shown.selected.indices = [];
}
