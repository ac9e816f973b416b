import type { Icon } from "@tabler/icons-react";
import type { ReactNode } from "react";

/** Where nothing is yet: what would be here, and (the children) the click that brings it. */
export function EmptyState({ icon: Picture, title, text, children }: { icon: Icon; title: string; text: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <Picture size={40} stroke={1.3} aria-hidden="true" />
      <h2>{title}</h2>
      <p>{text}</p>
      {children && <div className="empty-actions">{children}</div>}
    </div>
  );
}
