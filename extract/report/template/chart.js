// The chart: candles, volume below, then the daily panels that were loaded, on one time axis.

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

const PANEL = { height: 130, gap: 30 }; // pixels of a panel below the volume, and above it

/** Return the position of each axis as a fraction of the height: price, volume, then the panels from the top. */
function domains(count, plotted) {
  const panel = (PANEL.height + PANEL.gap) / (plotted + count * (PANEL.height + PANEL.gap));
  const below = count * panel;
  const drawn = (panel * PANEL.height) / (PANEL.height + PANEL.gap);
  const panels = Array.from({ length: count }, (_, at) => (count - 1 - at) * panel);
  const top = 1 - below;
  return [[below + 0.3 * top, 1], [below, below + 0.24 * top], ...panels.map((at) => [at, at + drawn])];
}

/** Return the names of the panels, to show above them: a narrow screen has no room for names beside the axes. */
function panelNames(panels, places) {
  return panels.map(({ title }, at) => ({
    text: title, xref: "paper", yref: "paper", x: 0, y: places[at + 2][1], xanchor: "left", yanchor: "bottom", showarrow: false,
  }));
}

function layout(panels) {
  const narrow = isNarrow();
  const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, fixedrange: narrow };
  const title = (text) => (narrow ? undefined : { text });
  const margin = { l: narrow ? 40 : 70, r: 8, t: 8, b: 44 };
  const height = narrow ? 380 : 520;
  const places = domains(panels.length, height - margin.t - margin.b);
  const shape = {
    height: height + panels.length * (PANEL.height + PANEL.gap),
    margin,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") },
    hovermode: "x",
    // so that a drag on a phone scrolls the page
    dragmode: narrow ? false : "zoom",
    showlegend: false,
    bargap: 0.1,
    annotations: narrow ? panelNames(panels, places) : [],
    xaxis: { ...axis, type: "date", anchor: `y${panels.length + 2}`, rangeslider: { visible: false } },
    yaxis: { ...axis, automargin: true, domain: places[0], title: title("price"), tickformat: "~g", hoverformat: "~g" },
    yaxis2: { ...axis, automargin: true, domain: places[1], title: title("volume"), tickformat: "~s", rangemode: "tozero" },
  };
  panels.forEach((panel, at) => {
    const place = { automargin: true, domain: places[at + 2], title: title(panel.title), nticks: 5 };
    shape[`yaxis${at + 3}`] = { ...axis, ...place, ...panel.axis };
  });
  return shape;
}

/** Return what the chart shows, in words, for readers who cannot see it. */
function summaryText(name, label, candles) {
  const x = expandRuns(candles.runs, candles.step);
  const last = x.length - 1;
  if (last < 0) return `${name}: no candles in this time range.`;
  return (
    `${name}, ${label.toLowerCase()}: ${isoDay(x[0])} to ${isoDay(x[last])}, ` +
    `opened at ${show(candles.open[0], 9)}, closed at ${show(candles.close[last], 9)}, ` +
    `low ${show(Math.min(...candles.low), 9)}, high ${show(Math.max(...candles.high), 9)}, ` +
    `volume ${show(total(candles.volume), 9)}.`
  );
}

/** Draw the candles of a range; Plotly reuses the element. */
function drawChart(instrument, range, label) {
  const target = document.getElementById("chart");
  const status = document.getElementById("summary");
  const candles = instrument[range];
  sayDaily(instrument, candles);
  if (!candles) {
    Plotly.purge(target);
    status.textContent = `${instrument.name}: omitted to keep this page small; see perpetuals_ohlcv.`;
    return Promise.resolve();
  }
  status.textContent = summaryText(instrument.name, label, candles);
  const config = { responsive: true, displaylogo: false, displayModeBar: !isNarrow(), modeBarButtons: [MODES] };
  const panels = dailyPanels(instrument, candles);
  const drawn = panels.map((panel, at) => ({ ...panel.trace, yaxis: `y${at + 3}` }));
  const shape = layout(panels);
  if (panels.length) shape.xaxis.range = timesShown(candles);
  return Plotly.react(target, [...traces(candles), ...drawn], shape, config);
}
