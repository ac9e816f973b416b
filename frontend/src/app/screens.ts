/**
 * The screens there are. A screen comes in by one line here, its folder in src/screens and its words in src/i18n.
 * Its name in the navigation is `nav.<name>` of i18n/<language>/shell.json, where all names stand already.
 */
import {
  IconBrain, IconHome, IconMessageCircle, IconMicrophone, IconSearch, IconSettings, IconShieldCheck, IconSparkles, IconStack2, IconUsers,
  IconWaveSine, type Icon,
} from "@tabler/icons-react";
import type { ComponentType } from "react";
import { useInboxCount } from "../api/queries/facts";

export interface Screen {
  /** The folder in src/screens, and the key of its name. */
  name: string;
  /** Below /app; `$id` is a parameter. */
  path: string;
  icon: Icon;
  /** side: the side bar, and the bottom bar of a phone. header: an icon on top. menu: the user's menu. none: reached by links. */
  place: "side" | "header" | "menu" | "none";
  /** Shown to administrators only; the server decides what they may do. */
  admin?: boolean;
  /** A hook that gives a number to show at the icon; nothing is shown at 0. */
  useCount?: () => number;
  /** Shown although the vault is locked: it reads nothing of it. */
  openWhileLocked?: boolean;
  load: () => Promise<{ default: ComponentType }>;
}

/** In the order of the navigation. */
export const screens: Screen[] = [
  { name: "home", path: "/", icon: IconHome, place: "side", load: () => import("../screens/home") },
  { name: "live", path: "/live", icon: IconMicrophone, place: "side", load: () => import("../screens/live") },
  { name: "recording", path: "/recording/$id", icon: IconHome, place: "none", load: () => import("../screens/recording") },
  { name: "search", path: "/search", icon: IconSearch, place: "side", load: () => import("../screens/search") },
  { name: "chat", path: "/chat", icon: IconMessageCircle, place: "side", load: () => import("../screens/chat") },
  { name: "memories", path: "/memories", icon: IconBrain, place: "side", useCount: useInboxCount, load: () => import("../screens/memories") },
  { name: "voice", path: "/voice", icon: IconWaveSine, place: "side", load: () => import("../screens/voice") },
  { name: "welcome", path: "/welcome", icon: IconSparkles, place: "menu", load: () => import("../screens/welcome") },
  { name: "speakers", path: "/speakers", icon: IconUsers, place: "side", load: () => import("../screens/speakers") },
  { name: "jobs", path: "/jobs", icon: IconStack2, place: "menu", openWhileLocked: true, load: () => import("../screens/jobs") },
  { name: "admin", path: "/admin", icon: IconShieldCheck, place: "menu", admin: true, openWhileLocked: true, load: () => import("../screens/admin") },
  { name: "settings", path: "/settings", icon: IconSettings, place: "menu", openWhileLocked: true, load: () => import("../screens/settings") },
];

/** Whether a screen is here to link to. */
export const hasScreen = (name: string): boolean => screens.some((screen) => screen.name === name);
