/** The frame of every screen: navigation, header, the screen itself, the mini player. */
import { Outlet, useLocation, useRouter } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { MiniPlayer } from "../parts/MiniPlayer";
import { Skeletons } from "../parts/Skeletons";
import { Header } from "./Header";
import { BottomBar, SideBar } from "./Navigation";
import { useOnline } from "./offline";
import { useShortcut } from "./shortcuts";
import { VaultGate } from "./VaultGate";
import "./shell.css";

const Palette = lazy(() => import("./Palette"));
const ShortcutsDialog = lazy(() => import("./ShortcutsDialog"));

export function Shell() {
  const { t } = useTranslation();
  return (
    <>
      <a className="skip" href="#content">{t("skip")}</a>
      <div className="shell">
        <SideBar />
        <div className="shell-page">
          <Header />
          <OfflineBanner />
          <Content />
          <MiniPlayer />
        </div>
        <BottomBar />
      </div>
      <Dialogs />
    </>
  );
}

/** The screen; a new one takes the focus, so that the keyboard starts there and not in the old one. */
function Content() {
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  const seen = useRef(pathname);
  useEffect(() => {
    if (seen.current === pathname) return;
    seen.current = pathname;
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [pathname]);
  return (
    <main id="content" tabIndex={-1} ref={main}>
      <Suspense fallback={<Skeletons lines={4} />}><VaultGate><Outlet /></VaultGate></Suspense>
    </main>
  );
}

function OfflineBanner() {
  const { t } = useTranslation();
  const online = useOnline();
  return <div role="status">{!online && <p className="offline">{t("offline")}</p>}</div>;
}

function Dialogs() {
  const { t } = useTranslation();
  const router = useRouter();
  const [open, setOpen] = useState<"palette" | "shortcuts" | null>(null);
  useShortcut("mod+k", t("shortcuts.palette"), () => setOpen("palette"));
  useShortcut("?", t("shortcuts.list"), () => setOpen("shortcuts"));
  useShortcut("/", t("shortcuts.search"), () => void router.navigate({ to: "/search" }));
  const close = () => setOpen(null);
  return (
    <Suspense>
      {open === "palette" && <Palette onClose={close} />}
      {open === "shortcuts" && <ShortcutsDialog onClose={close} />}
    </Suspense>
  );
}
