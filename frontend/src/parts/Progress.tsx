import { left, percent as written, stage as words } from "../format";

interface Props {
  /** Of what: "Progress of Interview". */
  label: string;
  /** 0 to 100. */
  percent: number;
  /** As the server names it: "asr". */
  stage?: string;
  etaS?: number | null;
}

/** Where the work is, how far, and how long still. */
export function Progress({ label, percent, stage, etaS }: Props) {
  return (
    <div className="progress">
      <p className="progress-words small">
        <span>{stage && words(stage)}</span>
        <span className="quiet">{[written(percent / 100), left(etaS)].filter(Boolean).join(" · ")}</span>
      </p>
      <progress max={100} value={percent} aria-label={label} />
    </div>
  );
}
