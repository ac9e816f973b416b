/** Ctrl-K: go somewhere, do something, or search. */
import "@mantine/spotlight/styles.css";
import { Spotlight, createSpotlight, type SpotlightActionData } from "@mantine/spotlight";
import { IconBolt, IconSearch } from "@tabler/icons-react";
import { useRouter } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useVisibleScreens } from "./Navigation";
import { useShortcuts } from "./shortcuts";

const [store, palette] = createSpotlight();

export default function Palette({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const router = useRouter();
  const [query, setQuery] = useState("");
  const screens = useVisibleScreens().filter((screen) => screen.place !== "none");
  const shortcuts = useShortcuts().filter((each) => each.keys !== "mod+k");
  useEffect(() => palette.open(), []);

  const actions: SpotlightActionData[] = [
    ...screens.map(({ name, path, icon: Icon }) => ({
      id: name, label: t(`nav.${name}`), leftSection: <Icon size={20} />, onClick: () => void router.navigate({ to: path }),
    })),
    ...shortcuts.map((each) => ({ id: each.keys, label: each.label, leftSection: <IconBolt size={20} />, onClick: each.run })),
  ];
  const matching = actions.filter((each) => each.label?.toLowerCase().includes(query.trim().toLowerCase()));
  const words = query.trim();
  const search: SpotlightActionData = {
    id: "search-for", label: t("palette.search", { words }), leftSection: <IconSearch size={20} />,
    onClick: () => void router.navigate({ to: "/search", search: { q: words } as never }),
  };
  return (
    <Spotlight
      store={store} lockScroll={false} shortcut={null} onSpotlightClose={onClose} query={query} onQueryChange={setQuery} filter={(_, given) => given}
      actions={words ? [...matching, search] : matching} scrollable maxHeight={360}
      searchProps={{ placeholder: t("palette.hint"), "aria-label": t("palette.hint"), leftSection: <IconSearch size={20} /> }}
    />
  );
}
