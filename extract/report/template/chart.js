// The chart: candles above, volume below, on one time axis.

const MODES = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function traces(candles) {
  const x = expandRuns(candles.runs, candles.step);
  const up = colour("up");
  const down = colour("down");
  return [
    {
      type: "candlestick", x, open: candles.open, high: candles.high, low: candles.low, close: candles.close, name: "price",
      increasing: { line: { color: up, width: 1 }, fillcolor: up },
      decreasing: { line: { color: down, width: 1 }, fillcolor: down },
    },
    {
      type: "bar", x, y: candles.volume, yaxis: "y2", name: "volume", hovertemplate: "%{y:,.6~g}<extra>volume</extra>",
      marker: { color: candles.close.map((close, at) => (close >= candles.open[at] ? up : down)), line: { width: 0 } },
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

/** Return what the chart shows, in words, for readers who cannot see it. */
function summaryText(name, label, candles) {
  const x = expandRuns(candles.runs, candles.step);
  const last = x.length - 1;
  if (last < 0) return `${name}: no candles in this time range.`;
  const show = (value) => value.toLocaleString("en", { maximumSignificantDigits: 9 });
  return (
    `${name}, ${label.toLowerCase()}: ${isoDay(x[0])} to ${isoDay(x[last])}, ` +
    `opened at ${show(candles.open[0])}, closed at ${show(candles.close[last])}, ` +
    `low ${show(Math.min(...candles.low))}, high ${show(Math.max(...candles.high))}, ` +
    `volume ${show(candles.volume.reduce((sum, value) => sum + value, 0))}.`
  );
}

/** Draw the candles of a range; Plotly reuses the element. */
function drawChart(instrument, range, label) {
  const target = document.getElementById("chart");
  const status = document.getElementById("summary");
  const candles = instrument[range];
  if (!candles) {
    Plotly.purge(target);
    status.textContent = `${instrument.name}: omitted to keep this page small; see perpetuals_ohlcv.`;
    return Promise.resolve();
  }
  status.textContent = summaryText(instrument.name, label, candles);
  const config = { responsive: true, displaylogo: false, displayModeBar: !isNarrow(), modeBarButtons: [MODES] };
  return Plotly.react(target, traces(candles), layout(), config);
}
