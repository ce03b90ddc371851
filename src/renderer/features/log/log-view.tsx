import { useDeferredValue, useMemo, useState } from "react";
import { Input } from "react-aria-components/Input";
import { SearchField } from "react-aria-components/SearchField";
import { Choice } from "../../components/choice.tsx";
import { EmptyState } from "../../components/empty-state.tsx";
import { ScrollRegion } from "../../components/scroll-region.tsx";
import { format, strings } from "../../strings/strings.ts";
import { type Entry, filterLog, type Level } from "./log-filter.ts";

interface LogViewProps {
  readonly label: string;
  readonly entries: readonly Entry[];
  /** That occur in this log, least first. */
  readonly levels: readonly Level[];
}

const shownEntries = 300;

export function LogView({ label, entries, levels }: LogViewProps) {
  const [least, setLeast] = useState<Level>("info");
  const [search, setSearch] = useState("");
  const sought = useDeferredValue(search);
  const { shown, matching } = useMemo(() => filterLog(entries, least, sought, shownEntries), [entries, least, sought]);
  const texts = strings.log;
  return (
    <div className="log">
      <div className="log-tools">
        <SearchField className="search" aria-label={texts.search} value={search} onChange={setSearch}>
          <Input className="search-input" placeholder={texts.search} />
        </SearchField>
        <Choice
          label={texts.level}
          value={least}
          options={levels.map((level) => [level, texts.levels[level]] as const)}
          onChange={setLeast}
        />
      </div>
      <ScrollRegion label={label}>
        {shown.length === 0 ? (
          <EmptyState title={entries.length === 0 ? texts.empty : texts.noMatch} detail="" />
        ) : (
          <ol className="log-lines">
            {shown.map((entry) => (
              <LogEntry key={entry.sequence} entry={entry} />
            ))}
          </ol>
        )}
      </ScrollRegion>
      <p className="log-count">{texts.shown(format.count(shown.length), format.count(matching))}</p>
    </div>
  );
}

function LogEntry({ entry: { atMs, level, source, text } }: { entry: Entry }) {
  return (
    <li data-level={level}>
      <time dateTime={new Date(atMs).toISOString()} title={format.dateTime(atMs)}>
        {format.time(atMs)}
      </time>
      <span className="log-text">
        {level !== "info" && <strong className="log-level">{strings.log.levelNames[level]}</strong>}
        {source && <span className="log-source">{source}</span>}
        {text}
      </span>
    </li>
  );
}
