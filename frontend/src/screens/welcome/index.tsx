/** The first minutes: speak a note, or try the bundled conversation; beside it whether all is ready. */
import { Button } from "@mantine/core";
import { IconMicrophone } from "@tabler/icons-react";
import { Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useUser } from "../../app/session";
import { LevelMeter } from "../../parts/microphone/LevelMeter";
import { NoMicrophone } from "../../parts/microphone/NoMicrophone";
import { PageHeader } from "../../parts/PageHeader";
import { Demo } from "./Demo";
import { Models } from "./Models";
import { useMicrophoneCheck } from "./microphoneCheck";
import "./welcome.css";

export default function Welcome() {
  const { t } = useTranslation("welcome");
  const { username } = useUser();
  const navigate = useNavigate();
  return (
    <>
      <PageHeader title={t("title", { user: username })} text={t("text")}>
        <Link to="/" className="welcome-skip">{t("skip")}</Link>
      </PageHeader>
      <section className="card welcome-first">
        <div className="grow"><h2>{t("note.title")}</h2><p className="quiet">{t("note.text")}</p></div>
        <Button size="lg" autoFocus leftSection={<IconMicrophone size={20} />} onClick={() => void navigate({ to: "/live", search: { start: "1" } as never })}>
          {t("note.act")}
        </Button>
      </section>
      <Microphone />
      <Demo />
      <Models />
    </>
  );
}

function Microphone() {
  const { t } = useTranslation("welcome");
  const { level, state, trouble, name, open, close } = useMicrophoneCheck();
  const on = state === "open" || state === "heard";
  return (
    <section className="card">
      <div className="welcome-step">
        <div className="grow">
          <h2>{t("microphone.title")}</h2>
          <p className="quiet" role="status">{t(`microphone.${state}`)} {on && <bdi>{name}</bdi>}</p>
        </div>
        <Button variant="default" loading={state === "asking"} onClick={on ? close : open}>{t(on ? "microphone.stop" : "microphone.act")}</Button>
      </div>
      {on && <LevelMeter level={level} />}
      <NoMicrophone kind={trouble} onAgain={open} />
    </section>
  );
}
