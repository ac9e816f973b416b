/** What can be known of a file before a byte of it is sent. */
import { data, client } from "../client";

/** As shared/audio reads them, and what carries sound beside pictures. */
const ENDINGS = /\.(wav|wave|flac|mp3|ogg|oga|opus|m4a|m4b|mp4|m4v|mov|webm|mka|mkv|aac|aiff?|amr|caf|wma|3gp|avi)$/i;

export type Wrong = "empty" | "large" | "kind";

export function wrongWith({ name, type, size }: { name: string; type: string; size: number }, mostBytes: number | null): Wrong | null {
  if (!/^(audio|video)\//.test(type) && !ENDINGS.test(name)) return "kind";
  if (size === 0) return "empty";
  return mostBytes !== null && size > mostBytes ? "large" : null;
}

let asked: Promise<number | null> | null = null;

/** The most bytes that the server takes; null where it does not say. Asked once. */
export function mostBytes(): Promise<number | null> {
  asked ??= data(client.GET("/.well-known/nemo-server")).then((card) => card.tus?.max_bytes ?? null, () => {
    asked = null;
    return null;
  });
  return asked;
}
