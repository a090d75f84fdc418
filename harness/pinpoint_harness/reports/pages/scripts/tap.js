// A click on the map: a photo becomes the chosen one, a cell is zoomed into.
const [index] = marks.selected.indices;
if (index !== undefined) {
  const row = marks.data.row[index], [x, y] = [marks.data.x[index], marks.data.y[index]];
  if (row >= 0) picked.data = {row: [row]};
  else {
    const [wide, high] = [(x_range.end - x_range.start) / 8, (y_range.end - y_range.start) / 8];
    x_range.setv({start: x - wide, end: x + wide});
    y_range.setv({start: y - high, end: y + high});
  }
  marks.selected.indices = [];
}
