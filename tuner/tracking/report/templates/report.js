// Draws one plot after the other once the text is on the screen, and each again when its width changes.
const plots = Array.from(document.querySelectorAll(".plot[data-figure]"));
function drawNext() {
  const box = plots.shift();
  if (!box) { document.documentElement.dataset.drawn = "all"; return; }
  const figure = JSON.parse(document.getElementById(box.dataset.figure).textContent);
  const place = box.firstElementChild;
  Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false }).then(() => setTimeout(drawNext, 0));
}
setTimeout(drawNext, 0);
