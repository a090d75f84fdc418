// Name the two runs in the choices that compare them.
const name = (choice) => choice.options.find(([value]) => value === choice.value)[1];
const [one, other] = [name(a), name(b)];
outcome.options = [
  ["all", "all photos"],
  ["a_only", `A right, B wrong: only ${one} is right`],
  ["b_only", `A wrong, B right: only ${other} is right`],
  ["both_right", "both right"],
  ["both_wrong", "both wrong"],
  ["a_silent", `no answer by A: ${one}`],
];
