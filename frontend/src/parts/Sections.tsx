/** A screen of several pages: their names as links above, one of them below; `?section=` says which. */
import { Link, useSearch } from "@tanstack/react-router";

export function useSection<Name extends string>(names: readonly Name[]): Name {
  const { section } = useSearch({ strict: false }) as { section?: string };
  return names.find((name) => name === section) ?? (names[0] as Name);
}

interface Props {
  label: string;
  /** Of the screen, as "/settings". */
  path: string;
  names: readonly string[];
  active: string;
  titleOf: (name: string) => string;
}

export function Sections({ label, path, names, active, titleOf }: Props) {
  return (
    <nav className="sections" aria-label={label}>
      {names.map((name) => (
        <Link key={name} to={path} search={{ section: name } as never} aria-current={name === active ? "page" : undefined} activeProps={{}}>
          {titleOf(name)}
        </Link>
      ))}
    </nav>
  );
}
