// Makes elements. No text ever becomes markup.
const SVG = "http://www.w3.org/2000/svg";

/** h("button", { class: "x", on: { click } }, "text", child) */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

export function icon(name) {
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/assets/icons.svg#${name}`);
  return svg("svg", { "aria-hidden": "true" }, use);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [kind, listener] of Object.entries(value)) element.addEventListener(kind, listener);
    else if (name === "text") element.textContent = value;
    else if (name === "value") element.value = value;
    else if (name === "class") element.setAttribute("class", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets a text only where it differs, so that nothing is announced or drawn for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function toast(text, bad = false) {
  const box = document.getElementById("toasts");
  const line = h("p", { class: bad ? "toast bad" : "toast", text });
  box.append(line);
  setTimeout(() => line.remove(), bad ? 8000 : 4000);
}

/** Opens a dialog with a form; `submit` returns a text where something is wrong. */
export function dialog({ title, fields, action, danger, submit }) {
  const opener = document.activeElement;
  const message = h("p", { class: "message", role: "alert" });
  const ok = h("button", { class: danger ? "button danger" : "button primary", type: "submit" }, action);
  const form = h("form", { class: "stack", novalidate: true }, h("h2", { id: "dialog-title", text: title }), fields, message,
    h("div", { class: "actions" }, h("button", { class: "button quiet", type: "button", on: { click: () => box.close() } }, "Cancel"), ok));
  const box = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.textContent = "";
    ok.disabled = true;
    const problem = await submit();
    ok.disabled = false;
    if (problem) message.textContent = problem;
    else box.close();
  });
  box.addEventListener("close", () => {
    box.remove();
    opener?.focus?.();
  });
  document.body.append(box);
  box.showModal();
  form.querySelector("input, select, textarea")?.focus();
}

export function field(label, input, hint) {
  const id = `f${(field.count = (field.count ?? 0) + 1)}`;
  input.id = id;
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  return h("div", { class: "field" }, h("label", { for: id, text: label }), input, hint && h("p", { class: "hint", id: `${id}-hint`, text: hint }));
}

export function empty(iconName, title, text, ...more) {
  return h("div", { class: "empty" }, icon(iconName), h("h2", { text: title }), h("p", { text }), more);
}
