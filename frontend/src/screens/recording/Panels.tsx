/** What stands beside the transcript; on a narrow window the transcript is one of them. */
import { useEffect, useState, type KeyboardEvent, type ReactNode } from "react";
import { useTranslation } from "react-i18next";

export interface Panel {
  name: string;
  show: () => ReactNode;
}

/** Tabs as ARIA has them: one stop for Tab, arrows between them. */
export function Panels({ panels }: { panels: Panel[] }) {
  const { t } = useTranslation("recording");
  const [chosen, setChosen] = useState(panels[0]!.name);
  const current = panels.find((each) => each.name === chosen) ?? panels[0]!;
  useEffect(() => {
    if (current.name !== chosen) setChosen(current.name);
  }, [current, chosen]);
  const key = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = panels[(panels.indexOf(current) + step + panels.length) % panels.length]!;
    setChosen(next.name);
    event.currentTarget.querySelector<HTMLElement>(`#tab-${next.name}`)?.focus();
  };
  return (
    <div className="panels">
      <div role="tablist" className="tabs" aria-label={t("panels.name")} onKeyDown={key}>
        {panels.map(({ name }) => (
          <button
            key={name} role="tab" id={`tab-${name}`} aria-selected={name === current.name} aria-controls="panel"
            tabIndex={name === current.name ? 0 : -1} onClick={() => setChosen(name)}
          >
            {t(`panels.${name}`)}
          </button>
        ))}
      </div>
      <div role="tabpanel" id="panel" aria-labelledby={`tab-${current.name}`} className="panel">{current.show()}</div>
    </div>
  );
}
