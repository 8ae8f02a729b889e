"use strict";
// The calendar: one cell per day, in half-years of weeks. It is a single tab stop; arrow keys move inside it.

const DAY = 86400000;
const CELL = 13; // pixels: a square of 11, and the space between two squares
const LISTED = 20; // incomplete days listed below the calendar
const SVG = "http://www.w3.org/2000/svg"; // the namespace's name; nothing is loaded from it

const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const isoDay = (ms) => new Date(ms).toISOString().slice(0, 10);

/** Return the times, epoch ms, of [first, count] runs of equal steps. */
function expandRuns(runs, step) {
  return runs.flatMap(([first, count]) => Array.from({ length: count }, (_, at) => first + at * step));
}

/** Return the days of an instrument as objects, ascending. */
function expandDays(calendar) {
  const known = new Set(calendar.known);
  return expandRuns(calendar.runs, DAY).map((ms, at) => {
    const expected = calendar.expected[at] ?? calendar.usual;
    const missing = calendar.missing[at] ?? 0;
    const day = {
      ms,
      expected,
      missing,
      gap: calendar.gap[at] ?? 0,
      fills: calendar.fills[at],
      violations: calendar.violations[at] ?? 0,
    };
    day.state = dayState(day, known.has(at));
    return day;
  });
}

function dayState(day, known) {
  if (day.missing <= 0) return "complete";
  if (known) return "known";
  return day.missing >= day.expected ? "empty" : "partial";
}

const STATES = { complete: "complete", partial: "incomplete", empty: "no candle", known: "known gap" };

function dayText(day) {
  const candles = (day.expected - day.missing).toLocaleString("en");
  return (
    `${isoDay(day.ms)}: ${candles} of ${day.expected.toLocaleString("en")} candles, ${STATES[day.state]}; ` +
    `largest gap ${day.gap.toLocaleString("en")} min, ${plural(day.fills, "fill")}, ` +
    `${plural(day.violations, "violation")}`
  );
}

function svg(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

function drawHalf(year, firstMonth, byDay, cells) {
  const start = Date.UTC(year, firstMonth, 1);
  const end = Date.UTC(year, firstMonth + 6, 1);
  const offset = (new Date(start).getUTCDay() + 6) % 7; // weeks begin on Monday
  const height = 7 * CELL + 14;
  const drawn = svg("svg", { viewBox: `0 0 ${28 * CELL} ${height}`, role: "group" });
  drawn.setAttribute("aria-label", `${year}, ${firstMonth ? "July to December" : "January to June"}`);
  let outside = "";
  for (let ms = start; ms < end; ms += DAY) {
    const at = (ms - start) / DAY + offset;
    const x = Math.floor(at / 7) * CELL + 1;
    const y = (at % 7) * CELL + 14;
    const date = new Date(ms);
    if (date.getUTCDate() === 1) {
      const month = date.toLocaleString("en", { month: "short", timeZone: "UTC" });
      svg("text", { x: x + (at % 7 ? CELL : 0), y: 9 }, drawn).textContent = month;
    }
    const day = byDay.get(ms);
    if (day) drawDay(day, x, y, drawn, cells);
    else outside += `M${x} ${y}h11v11h-11z`;
  }
  if (outside) drawn.prepend(svg("path", { class: "outside", d: outside }));
  return drawn;
}

function drawDay(day, x, y, drawn, cells) {
  const poor = day.state === "partial" && day.missing > 0.1 * day.expected;
  const cell = svg("rect", { x, y, width: 11, height: 11, rx: 2, tabindex: -1 }, drawn);
  cell.setAttribute("class", `cell ${day.state}${poor ? " poor" : ""}`);
  cell.dataset.day = isoDay(day.ms);
  cell.dataset.state = day.state;
  svg("title", {}, cell).textContent = dayText(day);
  if (day.violations) {
    svg("circle", { cx: x + 5.5, cy: y + 5.5, r: 2.2, class: `mark on-${day.state}` }, drawn);
  }
  cells.set(day.ms, cell);
}

/** Draw the calendar of an instrument, newest year first, and list its incomplete days. */
function drawCalendar(instrument) {
  const target = document.getElementById("calendar");
  target.replaceChildren();
  const days = instrument.calendar ? expandDays(instrument.calendar) : [];
  const byDay = new Map(days.map((day) => [day.ms, day]));
  const cells = new Map();
  const years = [...new Set(days.map((day) => new Date(day.ms).getUTCFullYear()))].reverse();
  for (const year of years) {
    const box = document.createElement("div");
    box.className = "year";
    const title = document.createElement("h3");
    title.textContent = year;
    box.append(title, drawHalf(year, 0, byDay, cells), drawHalf(year, 6, byDay, cells));
    target.append(box);
  }
  listIncomplete(days, Boolean(instrument.calendar));
  walkable(days, byDay, cells);
}

function listIncomplete(days, embedded) {
  const found = days.filter((day) => day.state !== "complete").reverse();
  const title = document.getElementById("incomplete-title");
  title.textContent = embedded
    ? `${found.length.toLocaleString("en")} of ${plural(days.length, "day")} incomplete` +
      (found.length > LISTED ? `; the newest ${LISTED} are listed here, all are in quality.ohlcv_days` : "")
    : "Omitted to keep this page small; see quality.ohlcv_days";
  const items = found.slice(0, LISTED).map((day) => {
    const item = document.createElement("li");
    item.textContent = dayText(day);
    return item;
  });
  document.getElementById("incomplete").replaceChildren(...items);
}

/** Make one cell the tab stop, let arrow keys move it, and describe the current day in words. */
function walkable(days, byDay, cells) {
  const target = document.getElementById("calendar");
  const status = document.getElementById("day");
  status.textContent = "Point at a day, or move with the arrow keys, to see its figures.";
  if (!days.length) return;
  let current = days[days.length - 1].ms;
  cells.get(current).setAttribute("tabindex", 0);
  const show = (cell) => {
    const ms = Date.parse(cell.dataset.day);
    cells.get(current).setAttribute("tabindex", -1);
    current = ms;
    cell.setAttribute("tabindex", 0);
    status.textContent = dayText(byDay.get(ms));
  };
  const steps = { ArrowUp: -DAY, ArrowDown: DAY, ArrowLeft: -7 * DAY, ArrowRight: 7 * DAY };
  const pointed = (event) => event.target.closest?.(".cell") && show(event.target.closest(".cell"));
  target.onpointerover = pointed;
  target.onclick = pointed;
  target.onkeydown = (event) => {
    const edges = { Home: days[0].ms, End: days[days.length - 1].ms };
    const to = cells.get(edges[event.key] ?? current + (steps[event.key] ?? NaN));
    if (!to) return;
    event.preventDefault();
    show(to);
    to.focus();
  };
}
