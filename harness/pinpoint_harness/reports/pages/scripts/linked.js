// An address that ends in `#run-KEY` chooses that run as A, against the run that is A else.
const at = String(keys.findIndex((key) => location.hash === `#run-${key}`));
if (at !== "-1" && at !== a.value) {
  b.value = a.value;
  a.value = at;
}
