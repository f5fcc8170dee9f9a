"use strict";
(() => {
  document.documentElement.classList.add("js");
  const page = JSON.parse(document.getElementById("page-data").textContent);
  for (const chart of page.charts) {
    chart.c = chart.c.map((column) =>
      Array.isArray(column)
        ? Array.from({ length: column[1] }, (_, i) => column[0] + i)
        : column.v,
    );
  }
  const figures = [...document.querySelectorAll("[data-chart]")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  const state = { smooth: 0.001, printing: false, failed: [] };
  const font = getComputedStyle(document.body).fontFamily;

  // -- looks: DVC's templates in the colours of the page ------------------------------------

  function config(facet, ticks) {
    const night = dark.matches && !state.printing;
    const ink = night ? "#a7adb8" : "#5b6472";
    const line = night ? "#2b3038" : "#e8eaee";
    const axis = {
      labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line,
      labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 11,
      titleFontWeight: 500, titlePadding: 8, labelPadding: 5, tickSize: 4, labelOverlap: true,
    };
    return {
      background: null,
      font,
      view: { stroke: null },
      axis,
      axisX: { grid: false, tickCount: ticks, labelLimit: 90, titleLimit: 260 },
      // A title longer than its axis would push the plot itself out of the picture.
      axisY: { domain: false, ticks: false, tickCount: 5, labelLimit: 110, titleLimit: 150 },
      legend: {
        labelColor: ink, titleColor: ink, labelFont: font, titleFont: font, title: null,
        orient: facet ? "right" : "top", labelLimit: 180, gradientLength: 160,
        gradientThickness: 10,
      },
      title: { color: ink, font },
      bar: { tooltip: { content: "data" } },
      line: { strokeWidth: 1.75, strokeJoin: "round" },
      text: { fontSize: 11, font },
      range: { heatmap: { scheme: "purples" }, ramp: { scheme: "purples" } },
    };
  }

  // -- data: columns become the rows that the templates read ---------------------------------

  function rowsOf(chart) {
    const [xs, ...columns] = chart.c;
    const rows = [];
    let lone = false;
    chart.y.forEach((y, k) => {
      const values = columns[k];
      let part = 0;
      let first = rows.length;
      let drawn = 0;
      const close = () => {
        if (drawn === 1) {
          lone = true;
          for (let i = first; i < rows.length; i++) rows[i].__lone = true;
        }
        drawn = 0;
        first = rows.length;
      };
      for (let i = 0; i < xs.length; i++) {
        if (values[i] === null && chart.gaps) {
          close();
          part += 1;
          continue;
        }
        const row = { rev: page.series, __part: part };
        row[chart.x] = xs[i];
        row[chart.y.length > 1 ? page.several : y] = values[i];
        if (chart.y.length > 1) row.field = y;
        if (chart.n) row.__count = chart.n[i];
        rows.push(row);
        drawn += 1;
      }
      close();
    });
    return { rows, lone };
  }

  function filled(part, blanks) {
    if (Array.isArray(part)) return part.map((item) => filled(item, blanks));
    if (part !== null && typeof part === "object") {
      const out = {};
      for (const key of Object.keys(part)) out[key] = filled(part[key], blanks);
      return out;
    }
    return typeof part === "string" && Object.hasOwn(blanks, part) ? blanks[part] : part;
  }

  function each(part, visit) {
    if (part === null || typeof part !== "object") return;
    visit(part);
    for (const key of Object.keys(part)) if (key !== "data") each(part[key], visit);
  }

  // Formats of large and small numbers write `0k` and `0e+0`.
  const zero = "datum.value === 0 ? '0' : datum.label";

  function specOf(chart, width) {
    const single = chart.y.length === 1;
    const value = single ? chart.y[0] : page.several;
    const spec = filled(page.specs[chart.s], {
      "@x@": chart.x, "@y@": value, "@x_label@": chart.xl, "@y_label@": chart.yl, "@title@": "",
    });
    const { rows, lone } = rowsOf(chart);
    spec.data = { values: rows };
    delete spec.title;
    const height = state.printing ? 180 : chart.h;
    const most = chart.c[0].reduce((a, b) => (typeof b === "number" && b > a ? b : a), 0);
    // Vega gives a scale of one value a single tick, whose label it rounds to a whole number.
    const known = single ? chart.c[1].filter((v) => typeof v === "number") : [];
    const tiny = known.length > 0 && known.every((v) => Math.abs(v) < 1e-4) && known.some(Boolean);
    const flat = known.length > 0 && known.every((v) => v === known[0]) ? known[0] : null;
    each(spec, (part) => {
      const { y } = part.encoding || {};
      if (flat !== null && y && y.field === value && y.type === "quantitative") {
        const room = Math.abs(flat) * 0.1 || 1;
        y.scale = { ...y.scale, domain: [flat - room, flat + room] };
      }
      // Written out, the zeros of 0.0000012 are all that fits.
      if (tiny && y && y.field === value && y.type === "quantitative") {
        y.axis = { ...y.axis, format: "~e", labelExpr: zero };
      }
      const { x, color, strokeDash } = part.encoding || {};
      const legend = {
        title: null, symbolType: "stroke", symbolSize: 400, symbolStrokeWidth: 1.75,
      };
      if (strokeDash && strokeDash.field) strokeDash.legend = legend;
      if (most >= 2000 && x && x.type === "quantitative") x.axis = { format: "~s", labelExpr: zero };
      if (color && color.field === "rev" && single) color.legend = null;
      if (color && color.field === "rev" && !single) {
        // All rows are of this one run: its colours are free to tell the columns apart.
        const range = chart.y.map((_, i) => page.colors[i % page.colors.length]);
        const scale = { domain: chart.y, range };
        part.encoding.color = { field: "field", type: "nominal", scale, legend };
      }
    });
    if (spec.facet) {
      if (spec.facet.column) spec.facet.column.header = { labels: false, title: null };
      const side = Math.max(140, Math.min(width - 150, 340));
      for (const layer of [spec.spec, ...(spec.spec.layer || [])]) {
        if (layer.width) Object.assign(layer, { width: side, height: side });
      }
      // A number is as wide as its cell at most, and left out where nobody could read it then.
      const cell = side / new Set(chart.c[0]).size;
      const shares = JSON.stringify(spec).includes('"field":"percent_of_y"');
      const digits = shares ? 4 : String(Math.max(0, ...(chart.n || []))).length;
      const size = Math.min(11, Math.floor((0.9 * cell) / (0.6 * Math.max(2, digits))));
      for (const param of spec.params || []) {
        if (param.name === "showValues") param.value = size >= 7;
      }
      each(spec, (part) => {
        if (part.mark === "text") part.mark = { type: "text", fontSize: size, opacity: size < 7 ? 0 : 1 };
      });
    } else {
      Object.assign(spec, {
        width, height, autosize: { type: "fit", contains: "padding", resize: true },
      });
    }
    if (spec.layer) {
      const x = { field: chart.x, type: "quantitative", title: chart.xl };
      const mine = { strokeDash: { value: [1, 0] }, shape: { value: "circle" } };
      if (lone) {
        spec.layer.push({
          transform: [{ filter: "datum.__lone" }],
          mark: { type: "point", filled: true, size: 22, opacity: 1 },
          encoding: { x, y: { field: value, type: "quantitative", title: chart.yl }, ...mine },
        });
      }
      if (chart.holes.length) {
        spec.layer.push({
          data: { values: chart.holes.map(([at, is]) => ({ [chart.x]: at, value: is })) },
          mark: { type: "point", size: 36, strokeWidth: 1.5, opacity: 0.9 },
          encoding: {
            x,
            y: { value: 4 },
            color: { value: "#e5484d" },
            strokeDash: { value: [1, 0] },
            shape: { value: "M-.5-.5L.5,.5M.5-.5L-.5,.5" },
            tooltip: [{ field: chart.x, type: "quantitative" }, { field: "value" }],
          },
        });
      }
    }
    return spec;
  }

  // -- drawing -------------------------------------------------------------------------------

  // Nothing is fetched, whatever a template or a column may ask for.
  const refuse = () => Promise.reject(new Error("this report loads nothing"));
  const loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };

  function draw(figure) {
    const box = figure.querySelector(".plot");
    const chart = page.charts[Number(figure.dataset.chart)];
    const width = Math.max(200, Math.floor(box.clientWidth));
    erase(figure);
    try {
      const logger = vega.logger(vega.Error);
      const facet = Boolean(page.specs[chart.s].facet);
      const look = config(facet, chart.ticks);
      const compiled = vegaLite.compile(specOf(chart, width), { config: look, logger }).spec;
      const view = new vega.View(vega.parse(compiled), {
        loader,
        logger,
        renderer: state.printing ? "svg" : "canvas",
        container: box,
        hover: true,
      });
      view.tooltip((_, event, item, value) => tip(chart, event, value));
      if (state.smooth > 0.001) setSmooth(view);
      view.run();
      views.set(figure, { view, width, facet });
      figure.classList.add("drawn");
    } catch (error) {
      state.failed.push(`${chart.t}: ${error.message}`);
      box.textContent = `This plot cannot be drawn: ${error.message}`;
      figure.classList.add("failed");
    }
  }

  function erase(figure) {
    const old = views.get(figure);
    if (old) old.view.finalize();
    views.delete(figure);
    figure.querySelector(".plot").replaceChildren();
  }

  function setSmooth(view) {
    try {
      view.signal("smooth", state.smooth);
    } catch {
      return false; // a template without smoothing
    }
    return true;
  }

  const waiting = new Set(figures);
  function take(figure) {
    if (!waiting.delete(figure)) return;
    seen.unobserve(figure);
    draw(figure);
  }
  const seen = new IntersectionObserver(
    (entries) => entries.forEach((entry) => entry.isIntersecting && take(entry.target)),
    { rootMargin: "300px" },
  );

  // The first plots are drawn ahead of the eye, so that scrolling and printing find them; of
  // thousands the rest wait until they are looked at.
  const AHEAD = 80;
  // What a picture of the page, taken as soon as it is loaded, shows at the top.
  const AT_ONCE = 8;
  const later = window.requestIdleCallback || ((f) => setTimeout(() => f(), 30));
  function ahead() {
    const next = figures.slice(0, AHEAD).find((figure) => waiting.has(figure) && !figure.hidden);
    if (!next) return document.documentElement.classList.add("all-drawn");
    take(next);
    later(ahead);
  }

  function again() {
    for (const figure of [...views.keys()]) draw(figure);
  }

  // -- the tooltip: text only, so that no name becomes markup --------------------------------

  const bubble = document.getElementById("tip");
  function shown(value) {
    if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en");
    return String(Number(value.toPrecision(6)));
  }
  function tip(chart, event, value) {
    if (value === null || value === undefined || value === "") {
      bubble.hidden = true;
      return;
    }
    const told = typeof value === "object" ? Object.entries(value) : [["", value]];
    bubble.replaceChildren();
    for (const [key, item] of told) {
      if (key.startsWith("__") || key === "rev" || item === undefined) continue;
      const name = document.createElement("span");
      // The one series of a run is its working files; its value is the column's.
      name.textContent = key === page.series ? chart.yl : key.replace(`${page.series}::`, "");
      const text = document.createElement("b");
      text.textContent = shown(item);
      bubble.append(name, text);
    }
    bubble.hidden = !bubble.childElementCount;
    const { clientX, clientY } = event;
    const { offsetWidth: w, offsetHeight: h } = bubble;
    bubble.style.left = `${Math.max(4, Math.min(clientX + 14, innerWidth - w - 8))}px`;
    bubble.style.top = `${clientY + 18 + h > innerHeight ? clientY - h - 10 : clientY + 18}px`;
  }
  addEventListener("scroll", () => { bubble.hidden = true; }, { passive: true });

  // -- what the page offers ------------------------------------------------------------------

  // Long names break between their words; elements, unlike characters, leave copies of them whole.
  for (const name of document.querySelectorAll("h4, tbody th, #images figure.card > figcaption")) {
    const words = name.textContent.match(/[^/._-]+[/._-]*|[/._-]+/g) || [];
    name.replaceChildren(...words.flatMap((word) => [document.createElement("wbr"), word]).slice(1));
  }

  const slider = document.querySelector("#smooth input");
  let asked = 0;
  if (slider) {
    slider.value = 0;
    slider.addEventListener("input", () => {
      state.smooth = 0.001 + 0.6 * (slider.value / 100) ** 2;
      cancelAnimationFrame(asked);
      asked = requestAnimationFrame(() => {
        for (const { view } of views.values()) if (setSmooth(view)) view.run();
      });
    });
  }

  const search = document.querySelector("#filter");
  if (search) {
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const group of document.querySelectorAll("#metrics .group")) {
        let any = false;
        for (const figure of group.querySelectorAll("[data-chart]")) {
          const name = figure.querySelector("h4").textContent.toLowerCase();
          figure.hidden = !words.every((word) => name.includes(word));
          any = any || !figure.hidden;
        }
        group.hidden = !any;
      }
    });
  }

  for (const series of document.querySelectorAll(".series")) {
    const frames = [...series.querySelectorAll("figure")];
    const range = series.querySelector("input");
    const told = series.querySelector("output");
    const show = (i) => {
      frames.forEach((frame, k) => frame.classList.toggle("on", k === i));
      told.textContent = frames[i].dataset.step;
    };
    range.addEventListener("input", () => show(Number(range.value)));
    show(frames.length - 1);
  }

  const dialog = document.getElementById("large");
  document.addEventListener("click", (event) => {
    const image = event.target.closest("#images figure img");
    if (image && dialog.showModal) {
      dialog.querySelector("img").src = image.src;
      dialog.querySelector("img").alt = image.alt;
      dialog.querySelector("p").textContent = image.alt;
      dialog.showModal();
    } else if (event.target.closest("#large")) {
      dialog.close();
    }
  });

  // -- when it happens -----------------------------------------------------------------------

  window.report = { state, views, figures, waiting }; // for people with a console, and tests
  if (!window.vega) return;
  figures.forEach((figure) => seen.observe(figure));
  figures.slice(0, AT_ONCE).forEach(take);
  later(ahead);
  dark.addEventListener("change", again);
  let width = innerWidth;
  let timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (innerWidth === width || state.printing) return;
      width = innerWidth;
      again();
    }, 150);
  });
  addEventListener("beforeprint", () => {
    state.printing = true;
    figures.slice(0, 300).forEach(take);
    again();
  });
  addEventListener("afterprint", () => {
    state.printing = false;
    again();
  });
})();
