import { useId, type ReactNode } from "react";

/** One matter of the settings, with its name and a quiet line. */
export function Block({ title, text, children, grave }: { title: string; text?: ReactNode; children: ReactNode; grave?: boolean }) {
  const id = useId();
  return (
    <section className={`card block ${grave ? "grave" : ""}`} aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {text && <p className="quiet small">{text}</p>}
      {children}
    </section>
  );
}
