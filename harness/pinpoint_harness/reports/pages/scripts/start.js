// Draw what Bokeh draws.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
Bokeh.set_log_level("warn");
Bokeh.embed.embed_items(read("document"), read("items"));
