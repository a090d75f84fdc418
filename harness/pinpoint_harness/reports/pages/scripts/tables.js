// The last lines of every page: tables sort, columns and blocks hide, and paper shows all.
const figure = (cell) => parseFloat(cell.textContent.replace(/[,\s]/g, "").match(/^-?[\d.]+/)?.[0]);

function sortRows(button) {
  const header = button.closest("th");
  const ascending = header.getAttribute("aria-sort") === "descending";
  header.parentElement.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const at = header.cellIndex;
  // Blocks that are not ranked keep their order: their rows are no rivals of one another.
  for (const block of header.closest("table").querySelectorAll("tbody[data-sortable]")) {
    const rows = [...block.rows].slice(1);
    const order = (one, other) => {
      const [a, b] = [one, other].map((row) => figure(row.cells[at]));
      if (at === 0 || (isNaN(a) && isNaN(b))) {
        return one.cells[at].textContent.localeCompare(other.cells[at].textContent, "en") * (ascending ? 1 : -1);
      }
      return isNaN(a) ? 1 : isNaN(b) ? -1 : ascending ? a - b : b - a; // a dash is last either way
    };
    block.append(...rows.sort(order));
  }
}

function showColumn(box) {
  const table = document.getElementById(box.dataset.table);
  for (const row of table.querySelectorAll("tr:not(.heading)")) {
    row.cells[Number(box.dataset.column)].hidden = !box.checked;
  }
}

function showBlocks(choice) {
  const table = document.getElementById(choice.dataset.table);
  for (const block of table.tBodies) {
    block.hidden = Boolean(choice.value) && block.dataset.protocol !== choice.value;
  }
}

document.addEventListener("click", (event) => event.target.closest("button.sort") && sortRows(event.target.closest("button")));
document.addEventListener("change", (event) => {
  if (event.target.matches("input[data-column]")) showColumn(event.target);
  if (event.target.matches("select[data-table]")) showBlocks(event.target);
});
document.querySelectorAll("input[data-column]:not(:checked)").forEach(showColumn);
// On paper nothing is folded, and colours are the light ones.
let folded = [];
addEventListener("beforeprint", () => {
  document.documentElement.dataset.print = "1";
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((one) => (one.open = true));
});
addEventListener("afterprint", () => {
  delete document.documentElement.dataset.print;
  folded.forEach((one) => (one.open = false));
});
