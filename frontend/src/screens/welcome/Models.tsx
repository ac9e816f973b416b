/** Whether what listens, remembers, answers and speaks is ready. */
import { useTranslation } from "react-i18next";
import { useHealth } from "../../api/queries/health";
import { Trouble } from "../../parts/Trouble";

const SERVICES = ["transcription", "rag", "gemma", "emotion", "tts"];

export function Models() {
  const { t } = useTranslation("welcome");
  const { data: health } = useHealth();
  const found = Object.entries(health?.services ?? {}).filter(([name]) => SERVICES.includes(name));
  return (
    <section className="card">
      <h2>{t("models.title")}</h2>
      <Trouble why={health === null ? t("models.nothing") : null} />
      <ul className="models" aria-busy={health === undefined}>
        {found.map(([name, state]) => (
          <li key={name}>
            <span className={`dot ${state === "ok" ? "well" : "partly"}`} aria-hidden="true" />
            <span className="grow">{t(`models.${name}`)}</span>
            <span className="quiet">{t(`models.state.${state}`, { defaultValue: state })}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
