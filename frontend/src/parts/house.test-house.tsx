/** A part as it stands in the page: Mantine, a route, a player. */
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { createMemoryHistory, createRootRoute, createRouter, RouterProvider } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { theme } from "../theme";
import { Player } from "./MomentPlayer";

export function show(children: ReactNode) {
  const rootRoute = createRootRoute({ component: () => <Player>{children}</Player> });
  const router = createRouter({ routeTree: rootRoute, history: createMemoryHistory() });
  return render(
    <MantineProvider theme={theme} withCssVariables={false} withGlobalClasses={false} env="test">
      <RouterProvider router={router as never} />
      <Notifications />
    </MantineProvider>,
  );
}
