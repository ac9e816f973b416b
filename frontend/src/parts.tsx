/** Small pieces that every screen uses. */
import type { ReactNode } from "react";

export function Trouble({ text, children }: { text: string | null; children?: ReactNode }) {
  return (
    <div role="alert">
      {text && <p className="trouble"><span aria-hidden="true">⚠ </span>{text} {children}</p>}
    </div>
  );
}

export function Bar({ percent, label }: { percent: number; label: string }) {
  return <progress max={100} value={percent} aria-label={label}>{Math.round(percent)} %</progress>;
}

export function Skeleton({ lines }: { lines: number }) {
  return (
    <div aria-busy="true" aria-label="Loading">
      {Array.from({ length: lines }, (_, at) => <div key={at} className="skeleton" />)}
    </div>
  );
}

export function Emotion({ label }: { label?: string | null }) {
  if (!label) return null;
  return <span className={`emotion ${label}`}>{label}</span>;
}
