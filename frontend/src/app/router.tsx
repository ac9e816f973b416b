/** One route per screen, each in a chunk of its own, all below /app: the gateway has /live, /jobs and others for itself. */
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Skeletons } from "../parts/Skeletons";
import { Broken, NotFound } from "./Broken";
import { screens } from "./screens";
import { Shell } from "./Shell";

const root = createRootRoute({ component: Shell });

const routes = screens.map(({ path, load }) =>
  createRoute({ getParentRoute: () => root, path, component: lazyRouteComponent(load) }),
);

/** A search value is text, never parsed as JSON: `?q=1` asks for "1". */
const textOf = (search: string) => Object.fromEntries(new URLSearchParams(search));
const searchOf = (values: Record<string, unknown>) => {
  const given = Object.entries(values).filter(([, value]) => value != null && value !== "");
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return text && `?${text}`;
};

export const router = createRouter({
  routeTree: root.addChildren(routes),
  basepath: "/app",
  defaultPreload: "intent",
  scrollRestoration: false,
  parseSearch: textOf,
  stringifySearch: searchOf,
  defaultPendingComponent: () => <Skeletons lines={4} />,
  defaultErrorComponent: Broken,
  defaultNotFoundComponent: NotFound,
});
