import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useBackups, useModels, useServerCard } from "../../api/queries/admin";
import { useHealth } from "../../api/queries/health";
import { day } from "../../format";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";

/** Each service, each model, and what the server says of itself. */
export function Platform() {
  return (
    <div className="platform">
      <Services />
      <Models />
      <Kept />
      <Card />
    </div>
  );
}

function Services() {
  const { t } = useTranslation("admin");
  const { data: health, refetch } = useHealth();
  return (
    <section className="card" aria-labelledby="services">
      <h2 id="services">{t("platform.services")}</h2>
      {health === undefined && <Skeletons lines={2} />}
      <Trouble why={health === null ? t("platform.silent") : null}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      <ul className="list states" aria-live="polite">
        {Object.entries(health?.services ?? {}).map(([name, word]) => (
          <li key={name}><span className={`dot ${word === "ok" ? "well" : "partly"}`} aria-hidden="true" /> <span className="grow">{name}</span> <span className="quiet">{t(`platform.state.${word}`, { defaultValue: word })}</span></li>
        ))}
      </ul>
      <p className="small"><Link to="/jobs">{t("platform.hardware")}</Link></p>
    </section>
  );
}

function Models() {
  const { t } = useTranslation("admin");
  const { data: models, error, refetch } = useModels();
  return (
    <section className="card" aria-labelledby="models">
      <h2 id="models">{t("platform.models")}</h2>
      <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!models && !error && <Skeletons lines={2} />}
      <ul className="list states">{models?.map((each) => <li key={each.id}><code className="grow">{each.id}</code> <span className="quiet small">{each.owned_by}</span></li>)}</ul>
      {models?.length === 0 && <p className="quiet small">{t("platform.no-models")}</p>}
    </section>
  );
}

/** Backups: when one was made, and when one was last proven to come back. */
function Kept() {
  const { t } = useTranslation("admin");
  const { data: found, error, refetch } = useBackups();
  return (
    <section className="card" aria-labelledby="backups">
      <h2 id="backups">{t("platform.backups")}</h2>
      <Trouble why={error?.message}><Button variant="default" size="compact-md" onClick={() => void refetch()}>{t("again")}</Button></Trouble>
      {!found && !error && <Skeletons lines={2} />}
      {found && (
        <ul className="list states">
          {(["made", "verified", "drilled"] as const).map((what) => (
            <li key={what}><span className="grow">{t(`platform.${what}`)}</span> <span className="quiet" title={found[what]?.archive}>{found[what] ? day(found[what].at) : t("platform.never")}</span></li>
          ))}
        </ul>
      )}
      {found && !found.drilled && <p className="quiet small">{t("platform.drill")}</p>}
    </section>
  );
}

function Card() {
  const { t } = useTranslation("admin");
  const { data: card, error } = useServerCard();
  return (
    <section className="card" aria-labelledby="server">
      <h2 id="server">{t("platform.server")}</h2>
      <Trouble why={error?.message} />
      {card && (
        <ul className="list states">
          <li><span className="grow">{t("platform.version")}</span> {card.version}</li>
          <li><span className="grow">{t("platform.registration")}</span> {t(card.registration_open ? "platform.registration-open" : "platform.registration-closed")}</li>
        </ul>
      )}
    </section>
  );
}
