// The chart: candles above, volume below, on one time axis.

const MODES = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function traces(bars) {
  const x = expandRuns(bars.runs, bars.step);
  const up = colour("up");
  const down = colour("down");
  return [
    {
      type: "candlestick", x, open: bars.open, high: bars.high, low: bars.low, close: bars.close, name: "price",
      increasing: { line: { color: up, width: 1 }, fillcolor: up },
      decreasing: { line: { color: down, width: 1 }, fillcolor: down },
    },
    {
      type: "bar", x, y: bars.volume, yaxis: "y2", name: "volume", hovertemplate: "%{y:,.6~g}<extra>volume</extra>",
      marker: { color: bars.close.map((close, at) => (close >= bars.open[at] ? up : down)), line: { width: 0 } },
    },
  ];
}

const isNarrow = () => window.innerWidth < 768;

function layout() {
  const narrow = isNarrow();
  const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, fixedrange: narrow };
  const title = (text) => (narrow ? undefined : { text });
  return {
    height: narrow ? 380 : 520,
    margin: { l: narrow ? 40 : 70, r: 8, t: 8, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") },
    hovermode: "x",
    // a drag on a phone scrolls the page
    dragmode: narrow ? false : "zoom",
    showlegend: false,
    bargap: 0.1,
    xaxis: { ...axis, type: "date", anchor: "y2", rangeslider: { visible: false } },
    yaxis: { ...axis, automargin: true, domain: [0.3, 1], title: title("price"), tickformat: "~g", hoverformat: "~g" },
    yaxis2: { ...axis, automargin: true, domain: [0, 0.24], title: title("volume"), tickformat: "~s", rangemode: "tozero" },
  };
}

/** What the chart shows, in words, for those who do not see it. */
function summaryText(name, label, bars) {
  const x = expandRuns(bars.runs, bars.step);
  const last = x.length - 1;
  if (last < 0) return `${name}: no candle in this range.`;
  const show = (value) => value.toLocaleString("en", { maximumSignificantDigits: 9 });
  return (
    `${name}, ${label.toLowerCase()}: ${isoDay(x[0])} to ${isoDay(x[last])}, ` +
    `opened at ${show(bars.open[0])}, closed at ${show(bars.close[last])}, ` +
    `low ${show(Math.min(...bars.low))}, high ${show(Math.max(...bars.high))}, ` +
    `volume ${show(bars.volume.reduce((sum, value) => sum + value, 0))}.`
  );
}

/** Draw the bars of a range; Plotly keeps the element. */
function drawChart(instrument, range, label) {
  const target = document.getElementById("chart");
  const told = document.getElementById("summary");
  const bars = instrument[range];
  if (!bars) {
    Plotly.purge(target);
    told.textContent = `${instrument.name}: left out to keep this page small; see perpetuals_ohlcv.`;
    return Promise.resolve();
  }
  told.textContent = summaryText(instrument.name, label, bars);
  const config = { responsive: true, displaylogo: false, displayModeBar: !isNarrow(), modeBarButtons: [MODES] };
  return Plotly.react(target, traces(bars), layout(), config);
}
