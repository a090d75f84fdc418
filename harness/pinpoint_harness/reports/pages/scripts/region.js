// A box drawn on the map is one more filter.
const {geometry, final} = cb_obj;
if (final && geometry.type === "rect") {
  region.data = {west: [geometry.x0], east: [geometry.x1], south: [geometry.y0], north: [geometry.y1]};
}
