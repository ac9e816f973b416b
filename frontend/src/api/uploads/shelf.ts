/**
 * Files on their way, kept by the browser until the server has them: they outlive a closed tab. public/sw.js puts what
 * other apps share onto the same shelf; both must agree on the names here.
 */
const NAME = "nemo-uploads";
const STORE = "files";

export interface Kept {
  key: string;
  /** Whose it is; null for what was shared while nobody was signed in. */
  user: string | null;
  name: string;
  type: string;
  size: number;
  modified: number;
  /** null where the browser had no room for it: then the file must be chosen again after the tab was closed. */
  blob: Blob | null;
  /** Where on the server; null before it was begun. */
  url: string | null;
  offset: number;
  added: number;
}

let opened: Promise<IDBDatabase> | null = null;

function open(): Promise<IDBDatabase> {
  opened ??= new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  }).catch((error) => {
    opened = null;
    throw error;
  });
  return opened;
}

async function run<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode);
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error ?? request.error);
  });
}

/** Oldest first. Nothing where the browser keeps nothing (some private windows). */
export async function all(): Promise<Kept[]> {
  const found = await run<Kept[]>("readonly", (store) => store.getAll()).catch(() => []);
  return found.sort((one, other) => one.added - other.added);
}

export const find = (key: string): Promise<Kept | undefined> => run<Kept | undefined>("readonly", (store) => store.get(key)).catch(() => undefined);

/** With its bytes where there is room, else without; what came of it is told. */
export async function put(kept: Kept): Promise<Kept> {
  try {
    await run("readwrite", (store) => store.put(kept));
    return kept;
  } catch {
    const bare = { ...kept, blob: null };
    await run("readwrite", (store) => store.put(bare)).catch(() => undefined);
    return bare;
  }
}

/** Only what changed, in one transaction: one that is removed meanwhile does not come back. */
export async function change(key: string, changes: Partial<Kept>): Promise<void> {
  await run("readwrite", (store) => {
    const found: IDBRequest<Kept | undefined> = store.get(key);
    found.onsuccess = () => found.result && store.put({ ...found.result, ...changes });
    return found;
  }).catch(() => undefined);
}

export const remove = (key: string): Promise<void> => run("readwrite", (store) => store.delete(key)).then(() => undefined, () => undefined);
