import { IconAlertTriangle } from "@tabler/icons-react";
import type { ReactNode } from "react";

/** What went wrong, why, and (the children) what to click next. Keep it mounted: it speaks when `why` appears. */
export function Trouble({ what, why, children }: { what?: string; why: string | null | undefined; children?: ReactNode }) {
  return (
    <div role="alert">
      {why && (
        <div className="trouble">
          <IconAlertTriangle size={20} stroke={1.6} aria-hidden="true" />
          <div>
            {what && <strong>{what}</strong>}
            <p dir="auto">{why}</p>
            {children && <div className="row">{children}</div>}
          </div>
        </div>
      )}
    </div>
  );
}
