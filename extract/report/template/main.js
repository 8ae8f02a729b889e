// The page: draws only the chosen instrument and range.

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
  // the chart reads its colours when it is drawn, so draw it again
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  select.value = "0"; // a browser may restore an earlier choice
  drawCalendar(chosen());
  draw();
})();
