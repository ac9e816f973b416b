/** Where a screen fell over, and where there is none. */
import { Button } from "@mantine/core";
import { IconCompass, IconMoodSad } from "@tabler/icons-react";
import { Link, type ErrorComponentProps } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Failure } from "../api/client";
import { EmptyState } from "../parts/EmptyState";

export function Broken({ error, reset }: ErrorComponentProps) {
  const { t } = useTranslation();
  const why = error instanceof Failure ? error.message : t("broken.why");
  return (
    <EmptyState icon={IconMoodSad} title={t("broken.title")} text={why}>
      <Button onClick={reset}>{t("broken.again")}</Button>
      <Link to="/">{t("broken.home")}</Link>
    </EmptyState>
  );
}

export function NotFound() {
  const { t } = useTranslation();
  return (
    <EmptyState icon={IconCompass} title={t("missing.title")} text={t("missing.text")}>
      <Link to="/">{t("broken.home")}</Link>
    </EmptyState>
  );
}
