// Figures in the colours of the page, which are those of the reader's system and light on paper.
function paint() {
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  for (const plot of figures) {
    for (const axis of [...plot.left, ...plot.below]) {
      if (!axis.major_label_text_color && axis.major_label_text_color !== null) continue;
      axis.major_label_text_color = axis.axis_label_text_color = colour("--text");
      axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = colour("--line");
    }
    for (const grid of plot.center) if ("grid_line_color" in grid) grid.grid_line_color = colour("--line");
    plot.outline_line_color = colour("--line");
  }
  for (const [glyph, property, name] of painted) glyph[property] = colour(name);
}
paint();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
// Listeners of `tables.js`, which switch to the colours of paper, are older and called first.
addEventListener("beforeprint", paint);
addEventListener("afterprint", paint);
