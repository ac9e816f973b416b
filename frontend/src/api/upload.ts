/** Bytes up and down: what JSON calls cannot do. */
import { authorized, bearer, client, data, Failure, OFFLINE, reason, whoAmI } from "./client";

/** An address for <audio src>: the player asks it for the ranges it needs. Good for a quarter of an hour. */
export async function audioLink(id: string): Promise<string> {
  return (await data(client.POST("/transcription/{transcript_id}/audio-link", { params: { path: { transcript_id: id } } }))).url;
}

/** All bytes of a recording, to be cut by the page. */
export async function audioBytes(id: string): Promise<ArrayBuffer> {
  const answer = await authorized(`/transcription/${id}/audio`);
  if (!answer.ok) throw reason(await answer.json().catch(() => undefined), answer.status);
  return answer.arrayBuffer();
}

export interface Sent {
  headers?: Record<string, string>;
  /** Hears the share that was sent, 0 to 1. */
  moved: (share: number) => void;
  signal: AbortSignal;
}

/** One file as a form, by XMLHttpRequest, since fetch cannot tell how much was sent. Gives the server's answer.
 *  Raises a Failure in the server's words, AbortError where it was cancelled. */
export async function sendFile<T>(path: string, file: File, { headers = {}, moved, signal }: Sent): Promise<T> {
  await whoAmI(); // renews an expired token before the bytes go
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Authorization", bearer());
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && moved(event.loaded / event.total);
    request.onerror = () => reject(new Failure(OFFLINE, 0));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    request.onload = () => (request.status < 300 && request.response ? resolve(request.response) : reject(reason(request.response ?? undefined, request.status)));
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}

/** Something that was made here, into the folder of downloads. */
export function saveAs(name: string, what: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(what);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

export async function download(id: string, format: string): Promise<void> {
  const answer = await authorized(`/transcription/${id}/export?format=${format}`);
  if (!answer.ok) throw reason(await answer.json().catch(() => undefined), answer.status);
  saveAs(`${id}.${format}`, await answer.blob());
}
