/** The style sheet's colours for canvas drawing, which cannot read custom properties. */
import { useMemo, useSyncExternalStore } from "react";
import { currentTheme, onThemeChange, type Theme } from "./theme.ts";

const names = [
  "paper",
  "raised",
  "line",
  "ink",
  "ink-2",
  "ink-3",
  "own",
  "own-fill",
  "on-own",
  "attention",
  "lit",
] as const;
export type Palette = Readonly<Record<(typeof names)[number], string>> & { readonly theme: Theme };

function readPalette(theme: Theme): Palette {
  const probe = document.createElement("span");
  document.body.append(probe);
  const read = (name: string) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const colours = Object.fromEntries(names.map((name) => [name, read(name)])) as Record<(typeof names)[number], string>;
  probe.remove();
  return { ...colours, theme };
}

export function useTheme(): Theme {
  return useSyncExternalStore(onThemeChange, currentTheme);
}

export function usePalette(): Palette {
  const theme = useTheme();
  return useMemo(() => readPalette(theme), [theme]);
}

/** `colour` is a computed `rgb(…)`. */
export function withAlpha(colour: string, alpha: number): string {
  return colour.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, `rgba($1,$2,$3, ${alpha})`);
}
