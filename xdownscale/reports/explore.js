"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent.trim()),
  (letter) => letter.charCodeAt(0));
const codes = new Uint16Array(bytes("codes").buffer);
const shades = bytes("shades");
const latitude = new Float32Array(bytes("latitude").buffer);
const longitude = new Float32Array(bytes("longitude").buffer);
const [members, times, ny, nx] = about.shape;
const MISSING = 65535;
const map = document.getElementById("map");
const slider = document.getElementById("time");
const picker = document.getElementById("member");
const under = document.getElementById("under");
const play = document.getElementById("play");
const context = map.getContext("2d");
const picture = context.createImageData(nx, ny);
let pointer = null;
let timer = null;

const start = () => (Number(picker.value) * times + Number(slider.value)) * ny * nx;

function draw() {
  const first = start();
  for (let row = 0; row < ny; row++) {
    for (let column = 0; column < nx; column++) {
      const code = codes[first + row * nx + column];
      const place = 4 * (row * nx + column);
      const shade = code === MISSING ? about.missing : about.colours[shades[code]];
      picture.data.set(shade, place);
      picture.data[place + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
  document.getElementById("date").textContent = about.times[Number(slider.value)];
  slider.setAttribute("aria-valuetext", about.times[Number(slider.value)]);
  tell();
}

function value(code) {
  const level = about.first + about.step * code;
  return about.logarithmic ? Math.exp(level) : level;
}

function tell() {
  if (!pointer) return;
  const [row, column] = pointer;
  const code = codes[start() + row * nx + column];
  const cell = about.rectilinear ? [row, column] : [row * nx + column, row * nx + column];
  const said = code === MISSING ? "no value" : `${value(code).toPrecision(4)} ${about.units}`;
  under.textContent = `latitude ${latitude[cell[0]].toFixed(2)}°, ` +
    `longitude ${longitude[cell[1]].toFixed(2)}°: ${said}`;
}

function point(event) {
  const box = map.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top) / box.height * ny);
  const column = Math.floor((event.clientX - box.left) / box.width * nx);
  pointer = [Math.min(Math.max(row, 0), ny - 1), Math.min(Math.max(column, 0), nx - 1)];
  tell();
}

function move(by) {
  slider.value = (Number(slider.value) + by + times) % times;
  draw();
}

function toggle() {
  if (timer) clearInterval(timer);
  timer = timer ? null : setInterval(() => move(1), 400);
  play.textContent = timer ? "Stop" : "Play";
}

function bar() {
  const canvas = document.getElementById("bar");
  const pen = canvas.getContext("2d");
  about.colours.forEach((colour, place) => {
    pen.fillStyle = `rgb(${colour.join(",")})`;
    pen.fillRect(place, 0, 1, 1);
  });
}

slider.addEventListener("input", draw);
picker.addEventListener("input", draw);
document.getElementById("before").addEventListener("click", () => move(-1));
document.getElementById("after").addEventListener("click", () => move(1));
play.addEventListener("click", toggle);
map.addEventListener("pointermove", point);
map.addEventListener("pointerdown", point);
bar();
draw();
