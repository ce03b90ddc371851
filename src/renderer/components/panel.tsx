import { type ReactNode, useId } from "react";

interface PanelProps {
  readonly title: string;
  readonly className?: string;
  /** Controls at the right of the heading. */
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

/** One region of the board, named by its heading. */
export function Panel({ title, className, actions, children }: PanelProps) {
  const headingId = useId();
  return (
    <section className={className ? `panel ${className}` : "panel"} aria-labelledby={headingId}>
      <div className="panel-head">
        <h2 id={headingId}>{title}</h2>
        {actions}
      </div>
      {children}
    </section>
  );
}
