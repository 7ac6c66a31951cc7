/* Bull's-eye of the 16 AHA segments (Cerqueira et al. 2002): basal outside, apical inside, anterior at the top. */
"use strict";

var bullseye = (function () {
  const SVG = "http://www.w3.org/2000/svg";
  const RINGS = [
    { first: 1, count: 6, inner: 140, outer: 196 },
    { first: 7, count: 6, inner: 84, outer: 140 },
    { first: 13, count: 4, inner: 28, outer: 84 }
  ];
  const SEGMENT = /^AHA (\d{1,2}) (.*)$/;

  function make(name, attributes) {
    const made = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    return made;
  }

  /* Point at a radius and an angle in degrees, anticlockwise from the right. */
  function point(radius, degrees) {
    const angle = degrees * Math.PI / 180;
    return (radius * Math.cos(angle)).toFixed(2) + " " + (-radius * Math.sin(angle)).toFixed(2);
  }

  function mean(parts, field) {
    if (parts.length === 1) { return parts[0][field]; }
    let sum = 0, area = 0;
    for (let at = 0; at < parts.length; at++) {
      if (parts[at][field] === null) { return null; }
      sum += parts[at][field] * parts[at].area;
      area += parts[at].area;
    }
    return area ? sum / area : null;
  }

  /* Value of each segment; of several slices, the mean of their medians by area in mm2. */
  function segments(slices) {
    const parts = {};
    slices.forEach(function (slice) {
      const pixel = slice.pixel_spacing_mm[0] * slice.pixel_spacing_mm[1];
      slice.regions.forEach(function (region) {
        const match = SEGMENT.exec(region.name);
        if (match && region.median !== null) {
          const doubtful = slice.findings.some(function (each) { return each.flag === "review"; });
          const part = Object.assign({ doubtful: doubtful, area: region.pixels * pixel }, region);
          (parts[match[1]] = parts[match[1]] || []).push(part);
        }
      });
    });
    const found = {};
    Object.keys(parts).forEach(function (number) {
      const own = parts[number];
      found[number] = {
        name: own[0].name, median: mean(own, "median"), z: mean(own, "z_score"), slices: own.length,
        doubtful: own.some(function (part) { return part.doubtful; })
      };
    });
    return found;
  }

  /* Draw the segments; return whether there is one. digits: of the values; signed: text of a z-score. */
  function draw(place, slices, colours, window, digits, signed) {
    const found = segments(slices);
    place.textContent = "";
    const svg = make("svg", { viewBox: "-200 -200 400 400", role: "img", "aria-label": "AHA segments" });
    RINGS.forEach(function (ring) {
      const width = 360 / ring.count;
      for (let index = 0; index < ring.count; index++) {
        const number = ring.first + index;
        const middle = 90 + index * width;
        const from = middle - width / 2;
        const to = middle + width / 2;
        const value = found[number];
        const rgb = value ? maps.colour(colours, value.median, window) : [32, 36, 40];
        svg.appendChild(make("path", {
          d: "M" + point(ring.outer, from) + "A" + ring.outer + " " + ring.outer + " 0 0 0 " + point(ring.outer, to) +
            "L" + point(ring.inner, to) + "A" + ring.inner + " " + ring.inner + " 0 0 1 " + point(ring.inner, from) + "Z",
          fill: "rgb(" + rgb.join(",") + ")", stroke: "#101214", "stroke-width": 2
        }));
        if (value) { label(svg, value, (ring.inner + ring.outer) / 2, middle, rgb, digits, signed); }
      }
    });
    place.appendChild(svg);
    return Object.keys(found).length > 0;
  }

  function label(svg, value, radius, degrees, rgb, digits, signed) {
    const bright = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] > 125;
    const at = point(radius, degrees).split(" ");
    const y = Number(at[1]);
    const text = make("text", { x: at[0], y: y + (value.z === null ? 6 : 1), fill: bright ? "#000" : "#fff" });
    text.textContent = value.median.toFixed(digits) + (value.doubtful ? "?" : "");
    const title = make("title", {});
    title.textContent = value.name + (value.doubtful ? ": from a slice whose contours need review" : "");
    text.appendChild(title);
    svg.appendChild(text);
    if (value.z !== null) {
      const score = make("text", { x: at[0], y: y + 16, fill: bright ? "#000" : "#fff", "class": "z" });
      score.textContent = "z " + signed(value.z);
      svg.appendChild(score);
    }
  }

  return { draw: draw };
})();
