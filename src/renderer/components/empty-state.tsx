import type { ReactNode } from "react";

/** Why there is nothing to see here, and what would end it. */
export function EmptyState({ title, detail, children }: { title: string; detail: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      <p className="empty-detail">{detail}</p>
      {children}
    </div>
  );
}
