// The page's elements, found by their id and made anew where lists are shown.

export function find<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no ${id}`);
  return found as Kind;
}

/** Makes an element with attributes and children. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function percent(share: number): string {
  if (share === 0 || share === 1) return `${100 * share} %`;
  const rounded = share * 100;
  // what is not certain is not shown as 100 %
  return `${rounded > 99.9 ? "> 99.9" : rounded.toFixed(rounded > 99 || rounded < 1 ? 1 : 0)} %`;
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 999_500 ? `${(bytes / 1000).toFixed(bytes < 9950 ? 1 : 0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
