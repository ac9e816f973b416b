/** How it is, who you are, how it looks. */
import { ActionIcon, Menu, Popover, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import { IconCommand, IconDeviceDesktop, IconLanguage, IconLogout, IconMoon, IconSun, IconUserCircle } from "@tabler/icons-react";
import { Link, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { signOut } from "../api/client";
import { useHealth } from "../api/queries/health";
import { LANGUAGES, language, speak, type Language } from "../i18n";
import { JobsButton } from "./JobsButton";
import { LockItem } from "./LockItem";
import { Count, useVisibleScreens } from "./Navigation";
import { useUser } from "./session";

export function Header() {
  const { t } = useTranslation();
  const icons = useVisibleScreens().filter((screen) => screen.place === "header");
  return (
    <header className="top">
      <Link to="/" className="brand"><img src="/icon.svg" alt="" width="28" height="28" />{t("name")}</Link>
      <Pulse />
      {icons.map((screen) => (
        <Link key={screen.name} to={screen.path} className="top-way" aria-label={t(`nav.${screen.name}`)}>
          <screen.icon size={20} stroke={1.6} />
          <Count screen={screen} />
        </Link>
      ))}
      <JobsButton />
      <ThemeToggle />
      <UserMenu />
    </header>
  );
}

/** One word that opens to one line for each service. */
function Pulse() {
  const { t } = useTranslation();
  const { data: found } = useHealth();
  if (found === undefined) return <span className="pulse" />;
  const state = found === null ? "offline" : found.status === "ok" ? "well" : "partly";
  return (
    <Popover position="bottom-end" shadow="md" withinPortal={false}>
      <Popover.Target>
        <UnstyledButton className="pulse">
          <span className={`dot ${state}`} aria-hidden="true" /> <span className="pulse-word">{t(`pulse.${state}`)}</span>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown>
        <ul className="services">
          {Object.entries(found?.services ?? {}).map(([name, word]) => <li key={name}><span>{name}</span><span>{word}</span></li>)}
          {found === null && <li>{t("pulse.nothing")}</li>}
        </ul>
      </Popover.Dropdown>
    </Popover>
  );
}

const THEMES = { auto: IconDeviceDesktop, light: IconSun, dark: IconMoon } as const;
type Theme = keyof typeof THEMES;

/** As the device has it, light, dark, and round again; the choice is kept. */
function ThemeToggle() {
  const { t } = useTranslation();
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  const order = Object.keys(THEMES) as Theme[];
  const next = order[(order.indexOf(colorScheme) + 1) % order.length] as Theme;
  const Icon = THEMES[colorScheme];
  return (
    <ActionIcon
      variant="subtle" color="gray" size="lg" onClick={() => setColorScheme(next)}
      aria-label={t("theme.change", { now: t(`theme.${colorScheme}`), next: t(`theme.${next}`) })}
    >
      <Icon size={20} stroke={1.6} />
    </ActionIcon>
  );
}

function UserMenu() {
  const { t } = useTranslation();
  const user = useUser();
  const router = useRouter();
  const places = useVisibleScreens().filter((screen) => screen.place === "menu");
  const palette = () => dispatchEvent(new KeyboardEvent("keydown", { key: "k", ctrlKey: true, cancelable: true }));
  return (
    <Menu position="bottom-end" shadow="md" width={230}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("menu.open", { user: user.username })}>
          <IconUserCircle size={22} stroke={1.6} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label><bdi>{user.username}</bdi></Menu.Label>
        {places.map(({ name, path, icon: Icon }) => (
          <Menu.Item key={name} leftSection={<Icon size={18} />} onClick={() => void router.navigate({ to: path })}>
            {t(`nav.${name}`)}
          </Menu.Item>
        ))}
        <Menu.Item leftSection={<IconCommand size={18} />} onClick={palette}>{t("shortcuts.palette")}</Menu.Item>
        <LockItem />
        <Menu.Divider />
        {Object.entries(LANGUAGES).map(([tag, name]) => (
          <Menu.Item
            key={tag} lang={tag} leftSection={<IconLanguage size={18} />} aria-current={tag === language() || undefined}
            onClick={() => void speak(tag as Language)}
          >
            {name}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={18} />} onClick={() => void signOut()}>{t("menu.leave")}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
