// Keeps the page, never what people said: the frame and the hashed assets, no answer of the API.
const KEPT = "nemo-page-1";
const FRAME = "/app";
const SHARED = `${FRAME}/share`; // share_target in app.webmanifest

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clean()));

async function clean() {
  for (const name of await caches.keys()) if (name !== KEPT) await caches.delete(name);
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (origin !== location.origin) return;
  if (request.method === "POST" && pathname === SHARED) event.respondWith(shared(request));
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && (pathname === "/" || pathname === FRAME || pathname.startsWith(`${FRAME}/`))) event.respondWith(frame(request));
  else if (pathname.startsWith("/assets/")) event.respondWith(asset(request));
});

/** The newest page where the server answers, else the last one seen. */
async function frame(request) {
  const kept = await caches.open(KEPT);
  try {
    const answer = await fetch(request);
    if (answer.ok) await kept.put(FRAME, answer.clone());
    return answer;
  } catch (error) {
    const last = await kept.match(FRAME);
    if (last) return last;
    throw error;
  }
}

/** Its name is its hash: what is kept never grows old. */
async function asset(request) {
  const kept = await caches.open(KEPT);
  const found = await kept.match(request);
  if (found) return found;
  const answer = await fetch(request);
  if (answer.ok) await kept.put(request, answer.clone());
  return answer;
}

/** A recording that another app shares: onto the shelf of src/api/uploads/shelf.ts, from where the page sends it. */
async function shared(request) {
  const files = (await request.formData()).getAll("recording").filter((each) => each instanceof File);
  for (const file of files) await shelve(file);
  return Response.redirect(FRAME, 303);
}

function shelve(blob) {
  const { name, type, size, lastModified: modified } = blob;
  const kept = { key: crypto.randomUUID(), user: null, name, type, size, modified, blob, url: null, offset: 0, added: Date.now() };
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("nemo-uploads", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("files", { keyPath: "key" });
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction("files", "readwrite");
      transaction.objectStore("files").put(kept);
      transaction.oncomplete = () => resolve(opening.result.close());
      transaction.onabort = () => reject(transaction.error);
    };
  });
}
