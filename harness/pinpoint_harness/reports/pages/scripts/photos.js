// The photo browser: of the photos that pass, those that lead in the chosen order, a card each.
const ids = () => (names.decoded ??= new TextDecoder().decode(names.data.utf8).split("\n"));
const SHOWN = 12, beyond = radius.options.length;
const data = rows.data, A = {error: data[`error${a.value}`], band: data[`band${a.value}`], sure: data[`sure${a.value}`]};
const B = {error: data[`error${b.value}`], band: data[`band${b.value}`]}, at = Number(radius.value);
const FARTHEST_KM = Math.PI * 6371; // what a miss counts as
const km = names.km ??= Float64Array.from({length: steps + 1}, (_, code) => least_km * (most_km / least_km) ** (code / steps));
const kmOf = (code) => code > steps ? FARTHEST_KM : km[code];
const gainOf = (one, other, row) => one.band[row] <= beyond + 1 && other.band[row] <= beyond + 1 ? kmOf(other.error[row]) - kmOf(one.error[row]) || -1 : -1;
const scoreOf = {
  worst: (row) => A.band[row] <= beyond ? A.error[row] : -1,
  best: (row) => A.band[row] <= beyond ? 65535 - A.error[row] : -1,
  sure: (row) => A.band[row] > at && A.band[row] <= beyond ? A.sure[row] - 1 : -1,
  gain: (row) => gainOf(A, B, row),
  loss: (row) => gainOf(B, A, row),
}[order.value];
const lead = []; // [score, row], best first
const chosen = passing.data.row;
for (let i = 0; i < chosen.length; i++) {
  const row = chosen[i];
  const score = scoreOf(row);
  if (score < 0 || (lead.length === SHOWN && score <= lead[SHOWN - 1][0])) continue;
  let place = lead.length;
  while (place > 0 && lead[place - 1][0] < score) place--;
  lead.splice(place, 0, [score, row]);
  if (lead.length > SHOWN) lead.pop();
}
const store = names.cases ??= JSON.parse(document.getElementById(`${element}-cases`).textContent); // once: it holds pictures
const make = (tag, text, parent) => {
  const made = document.createElement(tag);
  if (text !== "") made.textContent = text;
  parent?.append(made);
  return made;
};
const distance = (code) => {
  if (code > steps) return "no answer";
  const far = kmOf(code);
  return `${far < 10 ? far.toPrecision(2) : Number(far.toPrecision(3)).toLocaleString("en")} km`;
};
const list = document.getElementById(`${element}-photos`);
list.replaceChildren(...lead.map(([, row]) => {
  const item = make("li", ""), card = make("button", "", item), picture = store.cases[row]?.picture;
  card.type = "button";
  card.className = "card";
  card.dataset.row = row;
  card.onclick = () => (picked.data = {row: [row]});
  if (typeof picture === "number") Object.assign(make("img", "", card), {src: store.pictures[picture], alt: ""});
  else make("span", picture ?? "no picture in this report", card).className = "no-picture";
  make("bdi", ids()[row], card);
  make("span", `A ${distance(A.error[row])}`, card);
  make("span", `B ${distance(B.error[row])}`, card);
  return item;
}));
if (!lead.length) make("li", "No photo of the selection fits this order.", list);
