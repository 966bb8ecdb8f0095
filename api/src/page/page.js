// The page at `/`: people on the floor plan, or a form to sign in.
"use strict";
const bones = [[5, 6], [5, 7], [7, 9], [6, 8], [8, 10], [5, 11], [6, 12], [11, 12], [11, 13],
  [13, 15], [12, 14], [14, 16], [0, 5], [0, 6]];
const colours = ["#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#8c564b", "#e377c2"];
const canvas = document.getElementById("plan"), pen = canvas.getContext("2d");
const counts = new Map(), activities = new Map(), trails = new Map();
let zones = [], seen = null, truth = null, width = 6, depth = 5;

// Heights are drawn upwards from where a person stands, in metres of the plan.
const heightOnPlan = 1.5, margin = 1.4;

function text(id, content) { document.getElementById(id).textContent = content; }

function list(id, lines) {
  const items = lines.map(([line, style]) => {
    const item = document.createElement("li");
    item.textContent = line;
    if (style) item.className = style;
    return item;
  });
  document.getElementById(id).replaceChildren(...items);
}

function scale() { return Math.min(canvas.width / (width + .4), canvas.height / (depth + margin)); }
function place(x, y, up) {
  const s = scale();
  return [(x + .2) * s, (y + margin - .2 - up * heightOnPlan) * s];
}

function path(points, close) {
  pen.beginPath();
  points.forEach(([x, y], nth) => nth ? pen.lineTo(x, y) : pen.moveTo(x, y));
  if (close) pen.closePath();
}

function drawZones() {
  const ink = getComputedStyle(document.body).color;
  for (const zone of zones) {
    path(zone.coordinates.map(([x, y]) => place(x, y, 0)), true);
    const count = counts.get(zone.name) ?? 0;
    pen.fillStyle = count ? "#3b82f633" : "#88888811";
    pen.fill();
    pen.strokeStyle = "#8889";
    pen.lineWidth = 2;
    pen.stroke();
    const [x, y] = place(zone.coordinates[0][0] + .1, zone.coordinates[0][1] + .3, 0);
    pen.fillStyle = ink;
    pen.font = "16px system-ui";
    pen.fillText(`${zone.name}: ${count}`, x, y);
  }
}

function drawPerson(person, colour, dashed) {
  if (!person.position) return;
  const at = keypoint => place(keypoint.x * width, person.position.y_m, 1 - keypoint.y);
  pen.strokeStyle = pen.fillStyle = colour;
  pen.globalAlpha = dashed ? .5 : Math.max(.3, person.confidence);
  pen.setLineDash(dashed ? [6, 6] : []);
  pen.lineWidth = dashed ? 2 : 5;
  pen.lineCap = "round";
  for (const [from, to] of bones) {
    path([at(person.keypoints[from]), at(person.keypoints[to])]);
    pen.stroke();
  }
  const [x, y] = at(person.keypoints[0]);
  pen.beginPath();
  pen.arc(x, y, 9, 0, 7);
  dashed ? pen.stroke() : pen.fill();
  pen.setLineDash([]);
  if (!dashed) {
    const label = [person.id, activities.get(person.id)].filter(Boolean).join(" ");
    pen.font = "bold 16px system-ui";
    pen.fillText(label, x + 14, y - 4);
  }
  pen.globalAlpha = 1;
}

function draw() {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  drawZones();
  for (const person of truth?.persons ?? []) drawPerson(person, "#888", true);
  for (const person of seen?.persons ?? []) {
    const colour = colours[parseInt(person.id.slice(1), 10) % colours.length] ?? colours[0];
    const trail = trails.get(person.id) ?? [];
    if (person.position) trail.push([person.position.x_m, person.position.y_m]);
    trails.set(person.id, trail.slice(-80));
    path(trail.map(([x, y]) => place(x, y, 0)));
    pen.strokeStyle = colour;
    pen.globalAlpha = .4;
    pen.lineWidth = 2;
    pen.stroke();
    pen.globalAlpha = 1;
    drawPerson(person, colour, false);
  }
}

function show(frame) {
  canvas.hidden = false;
  if (frame.estimator.kind === "ground_truth") { truth = frame; return; }
  seen = frame;
  const chip = document.getElementById("source");
  chip.textContent = frame.source_kind.toUpperCase();
  chip.className = `chip ${frame.source_kind}`;
  const { kind, name } = frame.estimator;
  text("estimator", kind === "model" ? `inferred by model ${name}` : `derived by ${name}`);
  counts.clear();
  for (const { zone } of frame.persons) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  list("zones", zones.map(zone => [`${zone.name}: ${counts.get(zone.name) ?? 0}`]));
  for (const { id, activity } of frame.persons) if (activity) activities.set(id, activity);
  list("people", frame.persons.map(person =>
    [[person.id, person.zone, activities.get(person.id)].filter(Boolean).join(", ")]));
  requestAnimationFrame(draw);
}

const links = new Map(), curveLength = 240;
function link(name) {
  if (!links.has(name)) {
    const label = document.createElement("div"), curve = document.createElement("canvas");
    [curve.width, curve.height] = [curveLength * 2, 80];
    curve.setAttribute("aria-label", `Moving variance of ${name}`);
    document.getElementById("links").append(label, curve);
    links.set(name, { label, curve, values: [] });
  }
  return links.get(name);
}

function showMotion(presence) {
  const { label, curve, values } = link(presence.link);
  label.textContent = [
    `${presence.link}: ${presence.motion}`,
    presence.confidence !== null && `${Math.round(100 * presence.confidence)} %`,
    presence.presence === "absent" && "nobody is there",
    presence.presence === "present" && presence.motion !== "moving" && "somebody is there",
    presence.breaths_per_minute !== null && `${presence.breaths_per_minute.toFixed(0)} breaths a minute`,
  ].filter(Boolean).join(", ");
  label.className = presence.motion;
  curve.hidden = presence.moving_variance === null;
  if (curve.hidden) return;
  values.push(presence.moving_variance);
  values.splice(0, values.length - curveLength);
  const threshold = presence.threshold ?? 0, top = 1.1 * Math.max(2 * threshold, ...values);
  const y = value => curve.height * (1 - value / top), ink = curve.getContext("2d");
  ink.clearRect(0, 0, curve.width, curve.height);
  ink.lineWidth = 2;
  ink.strokeStyle = "#888";
  ink.setLineDash([6, 6]);
  ink.beginPath();
  ink.moveTo(0, y(threshold));
  ink.lineTo(curve.width, y(threshold));
  ink.stroke();
  ink.strokeStyle = colours[0];
  ink.setLineDash([]);
  ink.beginPath();
  values.forEach((value, nth) => ink.lineTo(nth * 2, y(value)));
  ink.stroke();
}

const events = [];
function note(event) {
  if (event.activity) activities.set(event.subject, event.activity);
  const time = new Date(event.occurred_at_ns / 1e6).toLocaleTimeString();
  const what = event.type.replace("person.", "").replaceAll("_", " ");
  const where = [event.zone, event.activity].filter(Boolean).join(", ");
  events.unshift([`${time} ${event.subject} ${what}: ${where}`, event.type.includes("fall") && "alarm"]);
  events.splice(12);
  list("events", events);
}

function connect() {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws/v1/stream`);
  socket.onopen = () => {
    text("connection", "connected");
    for (const topic of ["pose_updates", "zone_events", "presence"])
      socket.send(JSON.stringify({ type: "subscribe", topic }));
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "pose_update") show(message.data);
    if (message.type === "event") note(message.data);
    if (message.type === "presence") showMotion(message.data);
  };
  socket.onclose = () => {
    text("connection", "reconnecting");
    setTimeout(connect, 1000);
  };
}

function begin(found) {
  zones = found;
  canvas.hidden = !zones.length;
  const corners = zones.flatMap(zone => zone.coordinates);
  if (corners.length) {
    width = Math.max(...corners.map(([x]) => x));
    depth = Math.max(...corners.map(([, y]) => y));
  }
  draw();
  connect();
}

function setSignedIn(signedIn) {
  document.getElementById("view").hidden = !signedIn;
  document.getElementById("sign-in").hidden = signedIn;
  for (const id of ["source", "legend"]) document.getElementById(id).hidden = !signedIn;
  text("sign-in-problem", "");
  if (!signedIn) text("connection", "not signed in");
}

async function problem(response) {
  return (await response.json().catch(() => ({}))).detail ?? response.statusText;
}

async function load() {
  const me = await fetch("/api/v1/auth/me");
  setSignedIn(me.ok);
  if (!me.ok) return;
  document.getElementById("sign-out").hidden = (await me.json()).kind !== "user";
  const found = await fetch("/api/v1/config/zones");
  if (found.ok) begin(await found.json());
  else text("connection", await problem(found));
}

document.getElementById("sign-in").onsubmit = async event => {
  event.preventDefault();
  const { username, password } = Object.fromEntries(new FormData(event.target));
  const signedIn = await fetch("/api/v1/auth/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  if (!signedIn.ok) { text("sign-in-problem", await problem(signedIn)); return; }
  await load();
  if (document.getElementById("view").hidden)
    text("sign-in-problem", "the browser keeps no cookie of this page: it needs https, or localhost");
};

document.getElementById("sign-out").onclick = async () => {
  await fetch("/api/v1/auth/session", { method: "DELETE" });
  location.reload();
};

load();
