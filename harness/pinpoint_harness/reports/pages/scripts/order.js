// The order of photos that fits an outcome: nothing is gained where A is wrong and B right.
order.value = {all: order.value, a_only: "gain", b_only: "loss", both_right: "best", both_wrong: "worst", a_silent: order.value}[outcome.value];
