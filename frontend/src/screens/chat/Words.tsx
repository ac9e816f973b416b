/** The model's own words as Markdown: no images, no HTML of its own, each checked sentence with its verdict. */
import { IconSparkles } from "@tabler/icons-react";
import { createContext, useContext, useMemo, useState, type ComponentProps } from "react";
import Markdown, { type Components } from "react-markdown";
import rehypeSanitize from "rehype-sanitize";
import { useTranslation } from "react-i18next";
import type { Citation } from "../../api/client";
import { clock } from "../../format";
import { usePlayer } from "../../parts/MomentPlayer";
import type { Evidence } from "./answer";
import { marks } from "./marks";
import { Grounds, ProofButton } from "./Proof";
import { marked, type Parts } from "./split";

interface Props {
  text: string;
  parts: Parts;
  citations: readonly Citation[];
  evidence: readonly Evidence[];
}

interface Shown {
  citations: readonly Citation[];
  evidence: readonly Evidence[];
  /** The verdict whose grounds are open. */
  open: number | null;
  toggle: (at: number) => void;
}

/** Read by the elements below: they stay the same elements, with the focus in them, whatever changes. */
const Context = createContext<Shown>({ citations: [], evidence: [], open: null, toggle: () => undefined });

export function Words({ text, parts, citations, evidence }: Props) {
  const { t } = useTranslation("chat");
  const [open, setOpen] = useState<number | null>(null);
  const grounds = open === null ? undefined : evidence[open];
  const shown = useMemo(() => ({ citations, evidence, open, toggle: (at: number) => setOpen((was) => (was === at ? null : at)) }), [citations, evidence, open]);
  return (
    <div className="chat-words">
      {parts.quotations.length > 0 && (
        <p className="chat-whose quiet small"><IconSparkles size={16} stroke={1.6} aria-hidden="true" />{t("whose", { model: parts.model })}</p>
      )}
      <div className="chat-markdown" dir="auto">
        <Context value={shown}>
          <Markdown skipHtml disallowedElements={["img"]} rehypePlugins={[rehypeSanitize, marks]} components={ELEMENTS}>{marked(text, parts, evidence)}</Markdown>
        </Context>
      </div>
      {grounds && <Grounds evidence={grounds} citations={citations} />}
    </div>
  );
}

type Span = ComponentProps<"span"> & { "data-evidence"?: string; "data-citation"?: string };

function Marked({ "data-evidence": proof, "data-citation": cited, children }: Span) {
  const { citations, evidence, open, toggle } = useContext(Context);
  const at = Number(proof);
  const checked = proof === undefined ? undefined : evidence[at];
  if (checked) return <ProofButton evidence={checked} open={open === at} onToggle={() => toggle(at)} />;
  const citation = cited === undefined ? undefined : citations[Number(cited) - 1];
  return citation ? <Reference citation={citation} number={Number(cited)} /> : <span>{children}</span>;
}

const ELEMENTS: Components = {
  a: ({ href, children }) => <a href={href} target="_blank" rel="noopener noreferrer nofollow">{children}</a>,
  span: Marked,
};

/** [1] in the running text: plays what it names. */
function Reference({ citation, number }: { citation: Citation; number: number }) {
  const { t } = useTranslation("chat");
  const { play } = usePlayer();
  const { transcript_id: id, start_s: start, end_s: end } = citation;
  if (!id || start == null) return <span>[{number}]</span>;
  return (
    <button className="time" aria-label={t("play", { number, time: clock(start) })} onClick={() => void play(id, start, end)}>[{number}]</button>
  );
}
