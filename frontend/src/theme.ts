/**
 * What Mantine is told. Colours are CSS variables of style.css: the policy allows no <style> element, so
 * Mantine writes none (`withCssVariables={false}`), and nothing here locks scrolling by one.
 */
import { createTheme, localStorageColorSchemeManager, type MantineColorsTuple } from "@mantine/core";

const accent = Array.from({ length: 10 }, (_, at) => `var(--mantine-color-accent-${at})`) as unknown as MantineColorsTuple;
const unlocked = { defaultProps: { lockScroll: false } };

export const theme = createTheme({
  colors: { accent },
  primaryColor: "accent",
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: { Modal: unlocked, Drawer: unlocked, Spotlight: unlocked, ModalRoot: unlocked, DrawerRoot: unlocked, SpotlightRoot: unlocked },
});

export const schemes = localStorageColorSchemeManager({ key: "nemo-theme" });
