import { speakerHue, speakerName } from "../format";

/** Who speaks: a colour, and beside it a letter in one of four shapes, for those who do not see the colour. */
export function SpeakerBadge({ label, name }: { label: string; name?: string | null }) {
  const shown = name || speakerName(label);
  const hue = speakerHue(label);
  const number = /(\d+)$/.exec(shown)?.[1];
  return (
    <span className={`speaker speaker-${hue}`}>
      <span className={`speaker-mark shape-${hue % 4}`} aria-hidden="true">{number ?? [...shown][0]?.toUpperCase()}</span>
      <bdi>{shown}</bdi>
    </span>
  );
}
