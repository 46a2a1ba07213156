// What the user has chosen, and what the answers have cost so far. Kept by the browser, for this page only.

import type { Mode } from "./answers";

export interface Totals {
  pictures: number;
  calls: number;
  bytes: number; // sent to the server
}

export interface Settings {
  mode: Mode;
  question: string[]; // labels that the server is asked about in the layered mode
  keep: boolean; // hard pictures
  totals: Totals;
}

const NAME = "spanloop settings";
export const NO_TOTALS: Totals = { pictures: 0, calls: 0, bytes: 0 };
const USUAL: Settings = { mode: "escalate", question: [], keep: false, totals: NO_TOTALS };

export function loadSettings(): Settings {
  try {
    return { ...USUAL, ...JSON.parse(localStorage.getItem(NAME) ?? "{}") };
  } catch {
    return { ...USUAL };
  }
}

/** Changes some settings; another tab may have changed others meanwhile. */
export function saveSettings(changes: Partial<Settings>): Settings {
  const changed = { ...loadSettings(), ...changes };
  localStorage.setItem(NAME, JSON.stringify(changed));
  return changed;
}
