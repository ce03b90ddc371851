/** Dark or light: what the system says until the person chooses. The choice is kept in this browser. */

export type Theme = "dark" | "light";

const key = "train-at-home-theme";
const prefersLight = matchMedia("(prefers-color-scheme: light)");
const listeners = new Set<() => void>();

function chosen(): Theme | null {
  const value = localStorage.getItem(key);
  return value === "dark" || value === "light" ? value : null;
}

export function currentTheme(): Theme {
  return chosen() ?? (prefersLight.matches ? "light" : "dark");
}

export function chooseTheme(theme: Theme): void {
  localStorage.setItem(key, theme);
  applyTheme();
}

/** Every colour is a `light-dark()` pair; the root's colour scheme picks one of each. */
export function applyTheme(): void {
  document.documentElement.style.colorScheme = currentTheme();
  for (const listener of listeners) listener();
}

export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

prefersLight.addEventListener("change", applyTheme);
