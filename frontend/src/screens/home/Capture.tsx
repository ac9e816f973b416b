/** What brings a recording in: speak, drop, choose. */
import { IconMicrophone, IconUpload } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useState, type DragEvent } from "react";
import { useTranslation } from "react-i18next";

const KINDS = "audio/*,video/*,.wav,.flac,.mp3,.ogg,.opus,.m4a,.webm";

export function Capture({ onFiles }: { onFiles: (files: File[]) => void }) {
  const { t } = useTranslation("home");
  return (
    <div className="capture">
      <Link to="/live" search={{ start: "1" } as never} className="record">
        <span className="record-dot"><IconMicrophone size={26} stroke={1.7} aria-hidden="true" /></span>
        <span><strong>{t("record")}</strong><span className="small">{t("record-hint")}</span></span>
      </Link>
      <Drop onFiles={onFiles} />
    </div>
  );
}

function Drop({ onFiles }: { onFiles: (files: File[]) => void }) {
  const { t } = useTranslation("home");
  const [over, setOver] = useState(false);
  const during = (yes: boolean) => (event: DragEvent) => {
    event.preventDefault();
    setOver(yes);
  };
  return (
    <label
      className={`drop ${over ? "over" : ""}`} onDragOver={during(true)} onDragLeave={during(false)}
      onDrop={(event) => { during(false)(event); onFiles([...event.dataTransfer.files]); }}
    >
      <input
        id="capture-file" type="file" accept={KINDS} multiple
        onChange={(event) => { onFiles([...(event.target.files ?? [])]); event.target.value = ""; }}
      />
      <IconUpload size={26} stroke={1.5} aria-hidden="true" />
      <span><strong>{t("drop")}</strong><span className="quiet small">{t("kinds")}</span></span>
    </label>
  );
}
