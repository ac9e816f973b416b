/** The memory map: who spoke where, what is known of whom. The list beside the picture holds all of it, for keys and readers. */
import { Button, TextInput, UnstyledButton, useComputedColorScheme } from "@mantine/core";
import { IconSearch, IconTopologyStar3 } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { useGraph, type Graph } from "../../api/queries/memories";
import { speakerName } from "../../format";
import { EmptyState } from "../../parts/EmptyState";
import { useHidden } from "../../parts/hidden";
import { Skeletons } from "../../parts/Skeletons";
import { Trouble } from "../../parts/Trouble";
import { useAddress, useGo } from "./address";

const Canvas = lazy(() => import("./map/Canvas"));
const FEW = 300;
const ALL = 1000;
const KINDS = ["person", "recording", "fact", "note", "tag"] as const;
type Node = Graph["nodes"][number];

const drawable = () => document.createElement("canvas").getContext("webgl2") !== null;
export const labelOf = ({ kind, label }: Node): string => (kind === "person" ? speakerName(label) : kind === "tag" ? `#${label}` : label);

export default function MemoryMap() {
  const { t } = useTranslation("memories");
  const [limit, setLimit] = useState(FEW);
  const { data, error, refetch } = useGraph(limit);
  const hidden = useHidden();
  const map = useMemo(() => data && { ...data, nodes: data.nodes.filter((node) => !hidden.has(node.id)) }, [data, hidden]);
  const scheme = useComputedColorScheme("light");
  const [webgl] = useState(drawable);
  const { node } = useAddress();
  const go = useGo();
  const selected = map?.nodes.some((each) => each.id === node) ? (node ?? null) : null;
  const select = (id: string | null) => go({ node: id ?? undefined }, true);
  if (error && !map) return <Trouble why={error.message}><Button size="compact-md" variant="default" onClick={() => void refetch()}>{t("again")}</Button></Trouble>;
  if (!map) return <Skeletons lines={4} />;
  if (!map.nodes.length) return <EmptyState icon={IconTopologyStar3} title={t("map.none.title")} text={t("map.none.text")}><Link to="/">{t("map.none.act")}</Link></EmptyState>;
  return (
    <>
      {!webgl && <p className="notice small">{t("map.no-webgl")}</p>}
      {map.truncated && (
        <p className="notice small">{t("map.truncated", { count: map.nodes.length })} {limit < ALL && <Button size="compact-sm" variant="subtle" onClick={() => setLimit(ALL)}>{t("map.all")}</Button>}</p>
      )}
      <div className={webgl ? "mem-map" : ""}>
        {webgl && <Suspense fallback={<div className="mem-canvas skeleton" />}><Canvas map={map} selected={selected} onSelect={select} scheme={scheme} /></Suspense>}
        <Beside map={map} selected={selected} onSelect={select} />
      </div>
    </>
  );
}

function Beside({ map, selected, onSelect }: { map: Graph; selected: string | null; onSelect: (id: string | null) => void }) {
  const { t } = useTranslation("memories");
  const [words, setWords] = useState("");
  const wanted = words.trim().toLocaleLowerCase();
  const shown = map.nodes.filter((node) => labelOf(node).toLocaleLowerCase().includes(wanted));
  const chosen = map.nodes.find((node) => node.id === selected);
  return (
    <section className="mem-beside" aria-label={t("map.list")}>
      {chosen && <Chosen node={chosen} map={map} onSelect={onSelect} />}
      <TextInput type="search" aria-label={t("map.find")} placeholder={t("map.find")} value={words} dir="auto" leftSection={<IconSearch size={16} />} onChange={(event) => setWords(event.currentTarget.value)} />
      {KINDS.map((kind) => {
        const nodes = shown.filter((node) => node.kind === kind);
        return nodes.length > 0 && (
          <div key={kind}>
            <h3><span className={`mem-dot ${kind}`} aria-hidden="true" />{t(`map.kinds.${kind}`)} <span className="quiet">{nodes.length}</span></h3>
            <ul className="list">{nodes.map((node) => <li key={node.id}><NodeButton node={node} pressed={node.id === selected} onSelect={onSelect} /></li>)}</ul>
          </div>
        );
      })}
    </section>
  );
}

function NodeButton({ node, pressed, onSelect }: { node: Node; pressed: boolean; onSelect: (id: string | null) => void }) {
  return <UnstyledButton className="mem-node" aria-pressed={pressed} onClick={() => onSelect(pressed ? null : node.id)}><bdi>{labelOf(node)}</bdi></UnstyledButton>;
}

/** What one node is tied to, and the way to it. */
function Chosen({ node, map, onSelect }: { node: Node; map: Graph; onSelect: (id: string | null) => void }) {
  const { t } = useTranslation("memories");
  const byId = useMemo(() => new Map(map.nodes.map((each) => [each.id, each])), [map]);
  const ties = map.edges.flatMap(({ source, target, kind }) => {
    const other = byId.get(source === node.id ? target : target === node.id ? source : "");
    return other ? [{ kind, other }] : [];
  });
  return (
    <div className="card mem-chosen" role="group" aria-label={t("map.chosen")}>
      <p className="quiet small">{t(`map.kind.${node.kind}`)}</p>
      <h3 dir="auto">{labelOf(node)}</h3>
      <Way node={node} />
      <p className="small" role="status">{t("map.ties", { count: ties.length })}</p>
      <ul className="list">{ties.map(({ kind, other }) => <li key={kind + other.id} className="small"><span className="quiet">{t(`map.edges.${kind}`)}</span> <NodeButton node={other} pressed={false} onSelect={onSelect} /></li>)}</ul>
    </div>
  );
}

function Way({ node: { id, kind, label } }: { node: Node }) {
  const { t } = useTranslation("memories");
  const address = useAddress();
  if (kind === "recording") return <Link to="/recording/$id" params={{ id }}>{t("map.open-recording")}</Link>;
  if (kind === "fact" || kind === "note") return <Link to="/memories" search={{ ...address, memory: id } as never}>{t("map.open-memory")}</Link>;
  if (kind === "tag") return <Link to="/memories" search={{ tag: label } as never}>{t("map.open-tag")}</Link>;
  return <Link to="/memories" search={{ type: "transcript", speaker: label } as never}>{t("map.open-person")}</Link>;
}
