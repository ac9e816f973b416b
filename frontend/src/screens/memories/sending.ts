/** Documents on their way to the server, with how far they are. */
import { useState } from "react";
import { useStale } from "../../api/queries/memories";
import { sendFile } from "../../api/upload";

export interface Sending {
  key: string;
  name: string;
  share: number;
  trouble: string | null;
  file: File;
  cancel: () => void;
}

export function useSendings() {
  const [sendings, setSendings] = useState<Sending[]>([]);
  const stale = useStale();
  const change = (key: string, part: Partial<Sending>) => setSendings((all) => all.map((each) => (each.key === key ? { ...each, ...part } : each)));
  const drop = (key: string) => setSendings((all) => all.filter((each) => each.key !== key));

  async function bring(file: File, key: string = crypto.randomUUID()): Promise<void> {
    const abort = new AbortController();
    const cancel = () => {
      abort.abort();
      drop(key);
    };
    setSendings((all) => [...all.filter((each) => each.key !== key), { key, name: file.name, share: 0, trouble: null, file, cancel }]);
    try {
      const headers = { "Idempotency-Key": key };
      await sendFile("/rag/documents?wait_s=0", file, { headers, moved: (share) => change(key, { share }), signal: abort.signal });
      await stale();
      drop(key);
    } catch (error) {
      change(key, { trouble: (error as Error).message });
    }
  }
  /** The same key again: what did arrive is not stored twice. */
  const again = ({ file, key }: Sending) => void bring(file, key);
  return { sendings, bring: (files: FileList | null) => [...(files ?? [])].forEach((file) => void bring(file)), again };
}
