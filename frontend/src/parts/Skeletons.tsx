import { useTranslation } from "react-i18next";

/** Grey cards of the size of what comes, so that nothing jumps when it does. */
export function Skeletons({ lines }: { lines: number }) {
  const { t } = useTranslation("parts", { useSuspense: false });
  return (
    <div role="status" aria-busy="true" aria-label={t("loading")}>
      {Array.from({ length: lines }, (_, at) => <div key={at} className="skeleton" />)}
    </div>
  );
}
