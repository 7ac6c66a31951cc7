/* Live page: results as they come, from the server-sent events of /events. */
"use strict";

(function () {
  /* Colours of each kind of map; those of all others are Lipari. */
  const COLOURS = { "T2": "Navia", "ECV": "Cividis", "Partition coefficient": "Cividis" };
  const STALE_MS = 7000;
  const UNUSUAL = 2;
  const RETRIES = 3;
  const RETRY_MS = 1000;
  const NOTHING = "–";

  const slices = new Map();       /* by number, in the order of arrival */
  const closed = new Map();       /* connections that have ended, by number */
  const superseded = new Map();   /* by examination, numbers of the results that do not count in its bull's-eyes */
  const windows = {};
  const chosenColours = {};
  let study = null;
  let selected = null;
  let lastSign = 0;
  let broken = true;
  let status = null;
  let server = null;              /* name of the process that serves the page */

  function by(id) { return document.getElementById(id); }

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) { made.textContent = text; }
    if (className) { made.className = className; }
    return made;
  }

  /* Value in the unit of its map. */
  function value(slice, given) {
    return given === null ? NOTHING : given.toFixed(slice.map.digits) + (slice.map.unit ? " " + slice.map.unit : "");
  }

  function range(slice, region) {
    return region.q1 === null ? "" :
      " [" + region.q1.toFixed(slice.map.digits) + "–" + region.q3.toFixed(slice.map.digits) + "]";
  }

  /* Standard error of a mean: one digit more than its value. */
  function errorOf(slice, region) { return region.error === null ? "" : "± " + region.error.toFixed(slice.map.digits + 1); }

  function signed(value) {
    if (value === null) { return NOTHING; }
    const text = Math.abs(value).toFixed(1);
    return (text === "0.0" ? "" : value > 0 ? "+" : "−") + text;
  }

  function kindOf(slice) { return slice.map.name; }

  function windowOf(slice) {
    const kind = kindOf(slice);
    if (!windows[kind]) { windows[kind] = { low: slice.map.window[0], high: slice.map.window[1] }; }
    return windows[kind];
  }

  function coloursOf(kind) { return chosenColours[kind] || COLOURS[kind] || "Lipari"; }

  function nameOf(slice) {
    return (slice.level ? slice.level + ", " : "") + "slice " + slice.slice_index + " · " + kindOf(slice);
  }

  function optionsOf(slice) {
    return {
      window: windowOf(slice), colours: coloursOf(kindOf(slice)), contours: by("contours").checked,
      uncertainty: by("uncertainty").checked, heart: by("heart").checked
    };
  }

  function inStudy() { return Array.from(slices.values()).filter(function (each) { return each.study === study; }); }

  function ringOf(slice) { return slice.regions.length ? slice.regions[0] : null; }

  /* Cards */

  function makeCard(slice) {
    const card = element("button", undefined, "card");
    card.type = "button";
    card.setAttribute("data-result", [slice.map.name, slice.series_index, slice.slice_index].join("/"));
    card.addEventListener("click", function () { follow(false); select(slice.number); });
    slice.card = card;
    slice.canvas = element("canvas");
    slice.canvas.width = slice.canvas.height = 240;
    fillCard(slice);
    slice.stale = true;
  }

  function fillCard(slice) {
    const ring = ringOf(slice);
    const measured = ring && ring.median !== null;
    const texts = [
      element("span", nameOf(slice)),
      element("strong", measured ? value(slice, ring.median) : "no value")
    ];
    if (ring && ring.z_score !== null) {
      texts.push(element("span", "z " + signed(ring.z_score), Math.abs(ring.z_score) >= UNUSUAL ? "unusual" : ""));
    }
    if (slice.error) {
      /* The reason that there is no value; flags alone, such as missing images, do not state it. */
      texts.push(element("span", measured && slice.findings.length ? slice.findings[0].text : slice.error, "failed"));
    } else if (slice.findings.length) {
      texts.push(element("span", "⚑ " + slice.findings[0].text, "flagged"));
    }
    if (slice.haematocrit) { texts.push(element("span", slice.haematocrit, "faint")); }
    if (slice.latency_ms !== null) {
      texts.push(element("span", "latency " + Math.round(slice.latency_ms) + " ms", "faint"));
    }
    fill(slice.card, [slice.canvas].concat(texts));
  }

  /* Cards of other examinations are painted once they are shown. */
  function paint(slice) {
    slice.stale = slice.study !== study;
    if (!slice.stale) {
      maps.draw(slice.canvas, slice, optionsOf(slice));
      slice.card.classList.toggle("drawn", Boolean(slice.pixels));
    }
  }

  /* A map that the server no longer keeps (404) is final; another failure may pass. */
  function loadImage(slice, name, make, failures) {
    if (slice.images.indexOf(name) < 0 || slices.get(slice.number) !== slice) { return; }
    let kept = true;
    fetch("results/" + slice.number + "/" + name, { credentials: "same-origin" }).then(function (reply) {
      kept = reply.status !== 404;
      if (!reply.ok) { throw new Error("status " + reply.status); }
      return reply.arrayBuffer();
    }).then(function (buffer) {
      make(buffer);
      paint(slice);
      if (selected === slice.number) { showMap(slice); }
    }).catch(function () {
      if (kept && failures < RETRIES) {
        window.setTimeout(function () { loadImage(slice, name, make, failures + 1); }, RETRY_MS);
        return;
      }
      slice.missing = kept ? "The map could not be loaded." : "The map is not kept any more.";
      if (selected === slice.number) { showDetail(); }
    });
  }

  function addSlice(slice) {
    slice.replaces.forEach(function (each) {
      forget(each);
      if (selected === each) { selected = slice.number; }
    });
    slices.set(slice.number, slice);
    superseded.set(slice.study, slice.superseded);
    makeCard(slice);
    loadImage(slice, "map", function (buffer) { slice.pixels = new Uint16Array(buffer); }, 0);
    loadImage(slice, "uncertainty", function (buffer) { slice.shares = new Uint8Array(buffer); }, 0);
    if (slice.oldest !== undefined) {
      Array.from(slices.keys()).forEach(function (each) { if (each < slice.oldest) { forget(each); } });
    }
    if (by("follow").checked || selected === null || !slices.has(selected)) {
      study = slice.study;
      selected = slice.number;
    }
    showSoon();
  }

  /* Level that became known later, with the regions that follow from it. */
  function changeLevel(change) {
    const slice = slices.get(change.number);
    if (slice) {
      Object.assign(slice, change);
      fillCard(slice);
      showSoon();
    }
  }

  function forget(which) {
    const gone = slices.get(which);
    if (gone && gone.card.parentNode) { gone.card.parentNode.removeChild(gone.card); }
    slices.delete(which);
  }

  function follow(on) { by("follow").checked = on; }

  /* Scroll the cards alone: the selected slice beside them stays where it is. */
  function bringIntoSight(card) {
    const cards = by("cards");
    const top = card.offsetTop - cards.offsetTop;
    const lowest = top + card.offsetHeight - cards.clientHeight;
    cards.scrollTop = Math.min(Math.max(cards.scrollTop, lowest), top);
  }

  function select(which) {
    selected = which;
    study = slices.get(which).study;
    show();
    bringIntoSight(slices.get(which).card);
  }

  /* What is shown; at most once a frame. */

  let due = false;
  function showSoon() {
    if (!due) {
      due = true;
      window.requestAnimationFrame(function () { due = false; show(); });
    }
  }

  function order(a, b) {
    return a.slice_index - b.slice_index || a.map.order - b.map.order || a.number - b.number;
  }

  function show() {
    const cards = by("cards");
    const shown = inStudy().sort(order);
    by("empty").hidden = slices.size > 0;
    /* Cards keep their place and focus where nothing has changed. */
    shown.forEach(function (slice, at) {
      if (cards.children[at] !== slice.card) { cards.insertBefore(slice.card, cards.children[at] || null); }
      slice.card.setAttribute("aria-pressed", String(slice.number === selected));
      if (slice.stale) { paint(slice); }
    });
    while (cards.children.length > shown.length) { cards.removeChild(cards.lastChild); }
    showStudies();
    showDetail();
  }

  function showStudies() {
    const nav = by("studies");
    const focused = nav.contains(document.activeElement);
    const counts = new Map();
    slices.forEach(function (slice) { counts.set(slice.study, (counts.get(slice.study) || 0) + 1); });
    nav.textContent = "";
    counts.forEach(function (count, which) {
      const text = "Examination " + which + " · " + count + (count === 1 ? " map" : " maps");
      const button = element("button", text);
      button.type = "button";
      button.setAttribute("aria-pressed", String(which === study));
      button.addEventListener("click", function () { follow(false); selectStudy(which); });
      nav.appendChild(button);
      if (focused && which === study) { button.focus(); }
    });
  }

  function selectStudy(which) {
    study = which;
    select(inStudy().sort(order)[0].number);
  }

  function showDetail() {
    const slice = slices.get(selected);
    by("detail").hidden = !slice;
    if (!slice) { return; }
    const kind = kindOf(slice);
    const ring = ringOf(slice);
    by("name").textContent = nameOf(slice) + (slice.description ? " · " + slice.description : "");
    by("median").textContent = ring && ring.median !== null ?
      value(slice, ring.median) + range(slice, ring) + (ring.z_score === null ? "" : ", z " + signed(ring.z_score)) :
      "no value";
    by("haematocrit").textContent = slice.haematocrit || "";
    const isEcv = slice.kind === "ecv";
    ["confidence", "latency-text", "latency"].forEach(function (id) { by(id).hidden = isEcv; });
    if (!isEcv) { showQuality(slice); }
    fill(by("findings"), slice.findings.map(function (each) { return element("li", each.text); })
      .concat(slice.error ? [element("li", slice.error, "failed")] : [])
      .concat(slice.missing ? [element("li", slice.missing, "failed")] : []));
    const notes = slice.notes.filter(function (each) { return each !== slice.confidence_reason; });
    fill(by("notes"), notes.map(function (each) { return element("li", each); })
      .concat(slice.reference ? [element("li", "z-scores: " + slice.reference)] : [])
      .concat(slice.times_ms ? [element("li", "Stages, ms: " + Object.keys(slice.times_ms).map(function (stage) {
        return stage + " " + Math.round(slice.times_ms[stage]);
      }).join(", "))] : []));
    const errors = slice.regions.some(function (region) { return region.error !== null; });
    const scores = slice.regions.some(function (region) { return region.z_score !== null; });
    by("values").className = (errors ? "" : "no-errors ") + (scores ? "" : "no-scores");
    fill(by("values").tBodies[0], slice.regions.map(function (region) { return regionRow(slice, region); }));
    by("values").hidden = slice.regions.length === 0;
    showTools(slice);
    showMap(slice);
    const alike = inStudy().filter(function (each) {
      return kindOf(each) === kind && superseded.get(study).indexOf(each.number) < 0;
    });
    const colours = { low: slice.map.segments[0], high: slice.map.segments[1] };
    const drawn = bullseye.draw(by("bullseye"), alike, coloursOf(kind), colours, slice.map.digits, signed);
    by("bullseye-part").hidden = !drawn;
    by("bullseye-caption").textContent = kind + " by AHA segment" + (slice.map.unit ? ", median in " + slice.map.unit : "") +
      ", of all slices of the examination, the latest result of each; several slices of a segment: mean by area; " +
      "?: from a slice whose contours need review. Colours " + colours.low + "–" +
      colours.high + (slice.map.unit ? " " + slice.map.unit : "") + ".";
  }

  function showQuality(slice) {
    /* The reason states the number too: 0.829 beside "below 0.83", which two digits would contradict. */
    by("confidence").textContent = slice.confidence_reason || "Expected Dice of the contours: " +
      (slice.confidence === null ? "not known" : slice.confidence.toFixed(2));
    by("latency-text").textContent = "Result " + Math.round(slice.latency_ms) + " ms after the last image; budget " +
      Math.round(slice.budget_ms) + " ms";
    by("latency").max = slice.budget_ms;
    by("latency").value = Math.min(slice.latency_ms, slice.budget_ms);
    by("latency").className = slice.latency_ms > slice.budget_ms ? "late" : "";
  }

  function regionRow(slice, region) {
    const row = element("tr");
    const unusual = region.z_score !== null && Math.abs(region.z_score) >= UNUSUAL;
    row.appendChild(element("td", region.name.replace(/^AHA /, "")));
    row.appendChild(element("td", region.median === null ? NOTHING :
      region.median.toFixed(slice.map.digits) + range(slice, region)));
    row.appendChild(element("td", errorOf(slice, region), "error"));
    row.appendChild(element("td", signed(region.z_score), unusual ? "score unusual" : "score"));
    row.appendChild(element("td", String(region.pixels)));
    return row;
  }

  function fill(place, children) {
    place.textContent = "";
    children.forEach(function (each) { place.appendChild(each); });
  }

  function showMap(slice) {
    const options = optionsOf(slice);
    const unit = slice.map.unit ? " " + slice.map.unit : "";
    maps.draw(by("map"), slice, options);
    maps.drawBar(by("bar"), options.colours);
    by("bar-low").textContent = options.window.low + unit;
    by("bar-high").textContent = options.window.high + unit;
  }

  function showTools(slice) {
    const kind = kindOf(slice);
    const own = windowOf(slice);
    if (document.activeElement !== by("low")) { by("low").value = own.low; }
    if (document.activeElement !== by("high")) { by("high").value = own.high; }
    by("unit").textContent = slice.map.unit + " (" + kind + ")";
    by("colours").value = coloursOf(kind);
    const any = inStudy().some(function (each) { return each.images.indexOf("uncertainty") >= 0; });
    by("uncertainty").disabled = !any;
    by("uncertainty").parentNode.title = any ? "" : "Set emit.uncertainty for uncertainty maps.";
  }

  function repaint() {
    slices.forEach(paint);
    showDetail();
  }

  function selectedKind() {
    const slice = slices.get(selected);
    return slice ? kindOf(slice) : null;
  }

  function setWindow(low, high) {
    const kind = selectedKind();
    if (kind !== null && isFinite(low) && isFinite(high) && low < high) {
      windows[kind] = { low: low, high: high };
      repaint();
    }
  }

  /* State and connections */

  function showState() {
    const stale = broken || Date.now() - lastSign > STALE_MS;
    by("alarm").hidden = !stale || lastSign === 0;
    by("alarm").textContent = "No connection to myostream: results may be missing.";
    by("state").className = stale ? "broken" : status && status.ready ? "ready" : "";
    by("state").textContent = stale ? "not connected" : status ? status.summary : "connected";
    if (!status) { return; }
    const rows = status.connections.map(function (each) { return linkRow(each, stale ? "not known" : "open"); });
    Array.from(closed.values()).reverse().forEach(function (each) {
      rows.push(linkRow(each, each.lost ? "ended, " + each.lost + " images lost" : "ended"));
    });
    fill(by("connections"), rows);
    by("links").hidden = rows.length === 0;
  }

  function linkRow(each, state) {
    const row = element("tr");
    const cells = [each.connection, state, each.images, each.returned, each.slices, each.results, each.late, each.errors];
    cells.forEach(function (cell) { row.appendChild(element("td", String(cell))); });
    if (each.lost) { row.className = "failed"; }
    return row;
  }

  function take(event) {
    lastSign = Date.now();
    broken = false;
    const content = JSON.parse(event.data);
    if (content.kind === "slice" || content.kind === "ecv") {
      addSlice(content);
    } else if (content.kind === "levels") {
      content.slices.forEach(changeLevel);
    } else if (content.kind === "closed") {
      closed.set(content.connection, content);
      if (closed.size > 8) { closed.delete(closed.keys().next().value); }
    } else if (content.kind === "status") {
      status = content;
    }
    showState();
  }

  function connect() {
    const source = new EventSource("events");
    source.addEventListener("reset", function (event) {
      /* A snapshot follows: of this server process or of a later one. */
      Array.from(slices.keys()).forEach(forget);
      closed.clear();
      const name = JSON.parse(event.data).server;
      if (server !== null && server !== name) {
        notify("Connected again at " + new Date().toLocaleTimeString() +
          ". The page was started anew: earlier results are no longer shown here.");
      } else if (server !== null) {
        notify("Connected again at " + new Date().toLocaleTimeString() + ".");
      }
      server = name;
      lastSign = Date.now();
      broken = false;
      showState();
      showSoon();
    });
    source.onmessage = take;
    source.onerror = function () {
      broken = true;
      showState();
      if (source.readyState === 2) { window.setTimeout(connect, 2000); }
    };
  }

  /* Notice that stays until it is closed: nobody may be looking when it comes. */
  function notify(text) {
    by("notice-text").textContent = text;
    by("notice").hidden = false;
  }

  function closeNotice() { by("notice").hidden = true; }

  /* Controls */

  function move(step) {
    const shown = inStudy().sort(order);
    const at = shown.findIndex(function (each) { return each.number === selected; });
    if (shown.length) {
      follow(false);
      select(shown[Math.min(Math.max(at + step, 0), shown.length - 1)].number);
    }
  }

  function moveStudy(step) {
    const all = Array.from(new Set(Array.from(slices.values()).map(function (each) { return each.study; })));
    const at = all.indexOf(study) + step;
    if (at >= 0 && at < all.length) { follow(false); selectStudy(all[at]); }
  }

  function scaleWindow(factor) {
    const slice = slices.get(selected);
    if (slice) {
      const own = windowOf(slice);
      const middle = (own.low + own.high) / 2;
      const half = (own.high - own.low) / 2 * factor;
      const digits = slice.map.unit === "ms" ? 0 : 2;
      setWindow(Number((middle - half).toFixed(digits)), Number((middle + half).toFixed(digits)));
    }
  }

  function nextColours() {
    const kind = selectedKind();
    if (kind !== null) {
      chosenColours[kind] = maps.names[(maps.names.indexOf(coloursOf(kind)) + 1) % maps.names.length];
      repaint();
    }
  }

  function toggle(id) {
    if (!by(id).disabled) { by(id).checked = !by(id).checked; }
    if (id === "follow") { showNewest(); } else { repaint(); }
  }

  function showNewest() {
    const all = Array.from(slices.keys());
    if (by("follow").checked && all.length) { select(all[all.length - 1]); }
  }

  const KEYS = {
    ArrowLeft: function () { move(-1); }, ArrowRight: function () { move(1); },
    p: function () { moveStudy(-1); }, n: function () { moveStudy(1); },
    c: function () { toggle("contours"); }, u: function () { toggle("uncertainty"); },
    z: function () { toggle("heart"); }, f: function () { toggle("follow"); }, m: nextColours,
    Escape: closeNotice, "+": function () { scaleWindow(0.8); }, "-": function () { scaleWindow(1.25); }
  };

  document.addEventListener("keydown", function (event) {
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (!typing && !event.ctrlKey && !event.altKey && !event.metaKey && KEYS[event.key]) {
      KEYS[event.key]();
      event.preventDefault();
    }
  });

  by("tools").addEventListener("submit", function (event) { event.preventDefault(); });
  ["contours", "uncertainty", "heart"].forEach(function (id) { by(id).addEventListener("change", repaint); });
  by("follow").addEventListener("change", showNewest);
  ["low", "high"].forEach(function (id) {
    by(id).addEventListener("change", function () { setWindow(parseFloat(by("low").value), parseFloat(by("high").value)); });
  });
  by("reset").addEventListener("click", function () {
    const slice = slices.get(selected);
    if (slice) { setWindow(slice.map.window[0], slice.map.window[1]); }
  });
  maps.names.forEach(function (name) { by("colours").appendChild(element("option", name)); });
  by("colours").addEventListener("change", function () {
    if (selectedKind() !== null) { chosenColours[selectedKind()] = by("colours").value; repaint(); }
  });
  by("map").addEventListener("mousemove", function (event) {
    const slice = slices.get(selected);
    const found = slice ? maps.valueAt(by("map"), slice, by("heart").checked, event.offsetX, event.offsetY) : null;
    by("cursor").textContent = found === null ? "" : value(slice, found);
  });
  by("map").addEventListener("mouseleave", function () { by("cursor").textContent = ""; });

  by("notice-close").addEventListener("click", closeNotice);
  by("links").hidden = true;
  window.setInterval(showState, 1000);
  connect();
})();
