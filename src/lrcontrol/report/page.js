"use strict";
async function unpacked(id) {
  if (!window.DecompressionStream) throw new Error("it is packed in a way that browsers know since 2023.");
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}
async function draw(place, libraries) {
  await libraries;
  const spec = JSON.parse(await unpacked(place.dataset.spec));
  if (place.clientWidth < 560 && spec.config.legend) {
    spec.config.legend.columns = 1;
    spec.config.legend.labelLimit = place.clientWidth - 40;
  }
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    ast: true, // expressions are interpreted, not evaluated: the page's policy forbids eval
    actions: false,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  await window.vegaEmbed(place, spec, options);
}
const libraries = unpacked("libraries").then((text) => {
  const script = document.createElement("script");
  script.textContent = text; // run where the page's policy holds the hash of this very text
  document.head.append(script);
});
for (const place of document.querySelectorAll("[data-spec]")) {
  draw(place, libraries).catch((error) => {
    place.textContent = "This chart cannot be drawn: " + error.message;
  });
}
