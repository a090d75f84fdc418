// All filters as they were at first; the two runs and the radius stay.
outcome.value = "all";
slider.value = [slider.start, slider.end];
for (const one of Object.values(slices)) one.value = "";
region.data = {west: [], east: [], south: [], north: []};
x_range.setv({start: -180, end: 180});
y_range.setv({start: -62, end: 85});
