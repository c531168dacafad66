// Mouse, wheel and keys of a picture.

const CLICK_PIXELS = 4;
const NOTCH_PIXELS = 50;

export function listen(views, pane) {
  const { element } = pane;
  let drag = null;
  let wheel = 0;

  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!views.voxels) return;
    if (event.ctrlKey) return views.setZoom(views.zoom * Math.exp(-event.deltaY / 400));
    // a notch of a wheel is one slice, whatever its size; the small steps of a touchpad are added up
    const notch = Math.abs(event.deltaY) >= NOTCH_PIXELS || event.deltaMode !== 0;
    wheel = notch ? Math.sign(event.deltaY) : wheel + event.deltaY / NOTCH_PIXELS;
    const steps = Math.trunc(wheel);
    if (steps === 0) return;
    wheel = 0;
    views.goTo(pane.kind, views.at[pane.kind] + (pane.kind === "axial" ? -steps : steps));
  }, { passive: false });

  element.addEventListener("pointerdown", (event) => {
    if (!views.voxels) return;
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true });
    const { width, centre } = views.look;
    drag = { x: event.offsetX, y: event.offsetY, lastX: event.offsetX, lastY: event.offsetY, button: event.button, alt: event.altKey,
      width, centre, zoom: views.zoom, moved: false };
    event.preventDefault();
  });

  element.addEventListener("pointermove", (event) => {
    if (!views.voxels) return;
    if (drag === null) return views.point(pane, event.offsetX, event.offsetY);
    const [x, y] = [event.offsetX - drag.x, event.offsetY - drag.y];
    if (Math.hypot(x, y) > CLICK_PIXELS) drag.moved = true;
    if (!drag.moved) return;
    if (drag.button === 2) views.setZoom(drag.zoom * Math.exp(-y / 200));
    else if (drag.button === 1 || drag.alt) {
      const scale = views.scale(pane);
      views.move(pane.kind, (event.offsetX - drag.lastX) / scale, (event.offsetY - drag.lastY) / scale);
    } else views.setWindow(drag.width + 4 * x, drag.centre + 3 * y);
    [drag.lastX, drag.lastY] = [event.offsetX, event.offsetY];
  });

  element.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved && drag.button === 0) views.cutThrough(pane, event.offsetX, event.offsetY);
    drag = null;
  });
  element.addEventListener("pointercancel", () => (drag = null));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("keydown", (event) => {
    if (views.voxels && key(views, pane, event)) event.preventDefault();
  });
}

function key(views, pane, event) {
  const { kind } = pane;
  const up = kind === "axial" ? 1 : -1; // towards the head, or to the front
  const move = (steps) => views.goTo(kind, views.at[kind] + steps);
  if (event.shiftKey && event.key.startsWith("Arrow")) return window_(views, event.key);
  if (event.altKey && event.key.startsWith("Arrow")) return pan(views, kind, event.key);
  const actions = {
    ArrowUp: () => move(up), ArrowDown: () => move(-up), ArrowRight: () => move(up), ArrowLeft: () => move(-up),
    PageUp: () => move(10 * up), PageDown: () => move(-10 * up),
    Home: () => views.goTo(kind, 0), End: () => views.goTo(kind, views.count(kind) - 1),
    "+": () => views.setZoom(views.zoom * 1.2), "=": () => views.setZoom(views.zoom * 1.2), "-": () => views.setZoom(views.zoom / 1.2),
  };
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey) return false;
  action();
  return true;
}

function window_(views, name) {
  const { width, centre } = views.look;
  const step = { ArrowUp: [0, 20], ArrowDown: [0, -20], ArrowRight: [40, 0], ArrowLeft: [-40, 0] }[name];
  views.setWindow(width + step[0], centre + step[1]);
  return true;
}

function pan(views, kind, name) {
  const step = { ArrowUp: [0, -10], ArrowDown: [0, 10], ArrowRight: [10, 0], ArrowLeft: [-10, 0] }[name];
  views.move(kind, ...step);
  return true;
}
