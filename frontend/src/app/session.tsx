/** Who is here: the door, and behind it the page. */
import { RouterProvider } from "@tanstack/react-router";
import { createContext, lazy, Suspense, useCallback, useContext, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { cache } from "../api/cache";
import { refresh, whenSignedOut, whoAmI, type User } from "../api/client";
import { Player } from "../parts/MomentPlayer";
import { router } from "./router";
import { keepUploading } from "./uploading";

const SignIn = lazy(() => import("../screens/sign-in"));
const Session = createContext<User | null>(null);

/** The one who is signed in; for screens, which are only shown to somebody. */
export function useUser(): User {
  const user = useContext(Session);
  if (!user) throw new Error("useUser outside of a session");
  return user;
}

export function Door() {
  const [user, setUser] = useState<User | null | undefined>(undefined);
  const enter = useCallback(async () => setUser(await whoAmI()), []);

  useEffect(() => {
    whenSignedOut(() => {
      cache.clear(); // the next one at this screen reads nothing of the last
      setUser(null);
    });
    refresh()
      .then((signedIn) => (signedIn ? enter() : setUser(null)))
      .catch(() => setUser(null));
  }, [enter]);

  const id = user?.id;
  useEffect(() => (id ? keepUploading(id) : undefined), [id]);

  if (user === undefined) return <Moment />;
  if (user === null) return <Suspense fallback={<Moment />}><SignIn onSignedIn={enter} /></Suspense>;
  return (
    <Session value={user}>
      <Player>
        <RouterProvider router={router} />
      </Player>
    </Session>
  );
}

function Moment() {
  const { t } = useTranslation();
  return <main className="door-page" aria-busy="true"><p className="quiet">{t("moment")}</p></main>;
}
