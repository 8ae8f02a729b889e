// Funding and open interest by day: panels of the chart below price and volume, and the same in words.

const HOURS_OF_YEAR = 8760;
const SETTLED = 8 * 3600000; // ms: open interest is measured at 08:00 UTC

/** Return a funding rate over `hours` hours, in percent, as a rate a year. */
const yearly = (percent, hours) => (percent / hours) * HOURS_OF_YEAR;

/** Return the days (epoch ms) of a part from `start` to `end` with their values and numbers of hours. */
function partBetween(part, values, [start, end]) {
  const days = expandRuns(part.runs, DAY);
  const inside = days.flatMap((ms, at) => (ms >= start && ms <= end ? [at] : []));
  return {
    x: inside.map((at) => days[at]),
    y: inside.map((at) => values[at]),
    hours: inside.map((at) => part.hours?.[at] ?? 24),
  };
}

function fundingPanel(part, times, step) {
  const { x, y, hours } = partBetween(part, part.percent, times);
  const up = colour("up");
  const down = colour("down");
  const trace = {
    type: "bar", x, y, name: "funding", width: DAY * 0.9,
    // the bar of a day is centred on the day's candle, or spans the shorter candles of the day
    offset: step < DAY ? DAY * 0.05 : DAY * -0.45,
    customdata: y.map((percent, at) => yearly(percent, hours[at])),
    hovertemplate: "%{y:.4~r} % a day<br>%{customdata:.4~r} % a year<extra>funding</extra>",
    marker: { color: y.map((percent) => (percent >= 0 ? up : down)), line: { width: 0 } },
  };
  return { title: "funding, % a day", trace, axis: { tickformat: "~g" } };
}

function openInterestPanel(part, times) {
  const { x, y } = partBetween(part, part.value, times);
  const breaks = (at) => at > 0 && x[at] > x[at - 1] + DAY; // the line breaks where days are missing
  const line = colour("known");
  const trace = {
    type: "scatter", mode: x.length < 40 ? "lines+markers" : "lines", name: "open interest",
    x: x.flatMap((ms, at) => (breaks(at) ? [ms, ms + SETTLED] : [ms + SETTLED])),
    y: y.flatMap((value, at) => (breaks(at) ? [null, value] : [value])),
    hovertemplate: `%{y:,.5~r} ${part.unit}<extra>open interest</extra>`,
    line: { color: line, width: 1.5 }, marker: { color: line, size: 4 },
  };
  const title = part.unit ? `open interest, ${part.unit}` : "open interest";
  return { title, trace, axis: { exponentformat: "B" } };
}

/** Return the days that the candles of a range touch, as [first, last] in epoch ms. */
function daysOf(candles) {
  const { runs, step } = candles;
  if (!runs.length) return [0, -1];
  const [first, count] = runs[runs.length - 1];
  return [Math.floor(runs[0][0] / DAY) * DAY, first + (count - 1) * step];
}

/** Return a time axis from the first candle to the last; Plotly's default would begin half a day before the panels. */
function timesShown({ runs, step }) {
  const [first, count] = runs[runs.length - 1];
  return [runs[0][0] - step / 2, first + (count - 0.5) * step];
}

/** Return the panels of an instrument for the days of its candles; only of parts that were loaded. */
function dailyPanels(instrument, candles) {
  const times = daysOf(candles);
  const panels = [];
  if (instrument.funding) panels.push(fundingPanel(instrument.funding, times, candles.step));
  if (instrument.open_interest) panels.push(openInterestPanel(instrument.open_interest, times));
  return panels.filter((panel) => panel.trace.y.length);
}

const show = (value, digits) => value.toLocaleString("en", { maximumSignificantDigits: digits });
const total = (values) => values.reduce((sum, value) => sum + value, 0);

function fundingText(part, times) {
  const { x, y, hours } = partBetween(part, part.percent, times);
  const last = x.length - 1;
  if (last < 0) return "";
  const short = hours[last] < 24 ? ` (${plural(hours[last], "hour")})` : "";
  return (
    `Funding of ${plural(y.length, "day")}: ${show(total(y), 4)} %, ` +
    `which is ${show(yearly(total(y), total(hours)), 4)} % a year. On ${isoDay(x[last])}${short}: ` +
    `${show(y[last], 4)} %, which is ${show(yearly(y[last], hours[last]), 4)} % a year.`
  );
}

function openInterestText(part, times) {
  const { x, y } = partBetween(part, part.value, times);
  const last = x.length - 1;
  if (last < 0) return "";
  return (
    `Open interest on ${isoDay(x[last])}: ${show(y[last], 5)} ${part.unit}; ` +
    `low ${show(Math.min(...y), 5)}, high ${show(Math.max(...y), 5)}.`
  );
}

/** Describe the panels in words, for readers who cannot see them; hide parts that were not loaded. */
function sayDaily(instrument, candles) {
  const about = document.getElementById("daily");
  if (!about) return; // only candles were loaded
  const times = candles ? daysOf(candles) : [0, -1];
  const texts = {
    funding: instrument.funding ? fundingText(instrument.funding, times) : "",
    "open-interest": instrument.open_interest ? openInterestText(instrument.open_interest, times) : "",
  };
  for (const [id, text] of Object.entries(texts)) document.getElementById(id).textContent = text;
  about.hidden = !Object.values(texts).some(Boolean);
}
