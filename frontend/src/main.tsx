import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { cache } from "./api/cache";
import { LiveRegion } from "./app/announce";
import { installOffline } from "./app/offline";
import { Door } from "./app/session";
import { startWords } from "./i18n";
import "./style.css";
import { schemes, theme } from "./theme";

async function start(root: HTMLElement): Promise<void> {
  await startWords();
  createRoot(root).render(
    <StrictMode>
      <MantineProvider
        theme={theme} defaultColorScheme="auto" colorSchemeManager={schemes} withCssVariables={false} withGlobalClasses={false}
      >
        <QueryClientProvider client={cache}>
          <Door />
          <Notifications position="bottom-center" limit={3} zIndex={400} />
          <LiveRegion />
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}

const root = document.getElementById("root");
if (location.pathname === "/") history.replaceState(null, "", `/app${location.search}`); // the router lives below /app
if (root) void start(root);
installOffline();
