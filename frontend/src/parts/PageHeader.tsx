import { IconArrowLeft } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useEffect, type ReactNode } from "react";
import { useTranslation } from "react-i18next";

interface Props {
  title: string;
  /** A quiet line below the title. */
  text?: ReactNode;
  /** Where the arrow leads: { to: "/", name: "Recordings" }. */
  back?: { to: string; name: string };
  /** Buttons at the end of the line. */
  children?: ReactNode;
}

/** The one h1 of a screen; also the title of the window. */
export function PageHeader({ title, text, back, children }: Props) {
  const { t } = useTranslation("shell");
  useEffect(() => void (document.title = `${title} · ${t("name")}`), [title, t]);
  return (
    <div className="page-header">
      {back && <Link to={back.to} className="back"><IconArrowLeft size={18} aria-hidden="true" />{back.name}</Link>}
      <div className="row">
        <h1 className="grow" dir="auto">{title}</h1>
        {children}
      </div>
      {text && <p className="quiet small">{text}</p>}
    </div>
  );
}
