import type { ReactNode } from "react";

interface ScrollRegionProps {
  readonly label: string;
  readonly className?: string;
  readonly children: ReactNode;
}

/** Content that may be longer than its place. The keyboard scrolls it, so it takes the focus (WCAG 2.1.1). */
export function ScrollRegion({ label, className, children }: ScrollRegionProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the content cannot be reached with the keyboard
    <section className={className ? `scroll ${className}` : "scroll"} aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
