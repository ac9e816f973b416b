/** The ways to the screens: a side bar where there is room, a bottom bar on a phone. */
import { Menu } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import { Link, useRouter } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { screens, type Screen } from "./screens";
import { useUser } from "./session";

const BOTTOM = 5;

export function useVisibleScreens(): Screen[] {
  const { role } = useUser();
  return screens.filter((screen) => !screen.admin || role === "admin");
}

const none = () => 0;

export function Count({ screen }: { screen: Screen }) {
  const count = (screen.useCount ?? none)();
  return count > 0 ? <span className="count">{count}</span> : null;
}

function Way({ screen }: { screen: Screen }) {
  const { t } = useTranslation();
  const { icon: Icon, name, path } = screen;
  return (
    <Link to={path} className="way" activeOptions={{ exact: path === "/" }}>
      <Icon size={22} stroke={1.6} aria-hidden="true" />
      <span>{t(`nav.${name}`)}</span>
      <Count screen={screen} />
    </Link>
  );
}

export function SideBar() {
  const { t } = useTranslation();
  const side = useVisibleScreens().filter((screen) => screen.place === "side");
  return (
    <div className="side">
      <Link to="/" className="brand"><img src="/icon.svg" alt="" width="30" height="30" />{t("name")}</Link>
      <nav aria-label={t("main")}>{side.map((screen) => <Way key={screen.name} screen={screen} />)}</nav>
    </div>
  );
}

export function BottomBar() {
  const { t } = useTranslation();
  const side = useVisibleScreens().filter((screen) => screen.place === "side");
  const shown = side.length > BOTTOM ? side.slice(0, BOTTOM - 1) : side;
  return (
    <nav className="bottom" aria-label={t("main")}>
      {shown.map((screen) => <Way key={screen.name} screen={screen} />)}
      {shown.length < side.length && <More screens={side.slice(shown.length)} />}
    </nav>
  );
}

function More({ screens: rest }: { screens: Screen[] }) {
  const { t } = useTranslation();
  const router = useRouter();
  return (
    <Menu position="top-end">
      <Menu.Target>
        <button className="way"><IconDots size={22} aria-hidden="true" /><span>{t("more")}</span></button>
      </Menu.Target>
      <Menu.Dropdown>
        {rest.map(({ name, path, icon: Icon }) => (
          <Menu.Item key={name} leftSection={<Icon size={18} />} onClick={() => void router.navigate({ to: path })}>
            {t(`nav.${name}`)}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
