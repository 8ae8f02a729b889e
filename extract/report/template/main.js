// The page: one choice of instrument and range; only what is chosen is drawn.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const select = document.getElementById("instrument");
  const buttons = [...document.querySelectorAll("#ranges button")];
  let range = "days";

  const chosen = () => data.instruments[Number(select.value)];

  function draw() {
    const instrument = chosen();
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.range === range));
      button.setAttribute("aria-disabled", String(!instrument[button.dataset.range]));
    }
    document.documentElement.dataset.chart = "drawing";
    return drawChart(instrument, range, data.ranges[range]).then(() => {
      document.documentElement.dataset.chart = `${instrument.name} ${range}`;
    });
  }

  select.addEventListener("change", () => {
    drawCalendar(chosen());
    draw();
  });
  for (const button of buttons) {
    button.addEventListener("click", () => {
      range = button.dataset.range;
      draw();
    });
  }
  // colours are read when the chart is drawn
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  select.value = "0"; // a browser may bring back an older choice
  drawCalendar(chosen());
  draw();
})();
