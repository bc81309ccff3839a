"use strict";
for (const place of document.querySelectorAll("[data-spec]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
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
  vegaEmbed(place, spec, options).catch((error) => {
    place.textContent = "This chart cannot be drawn: " + error.message;
  });
}
