import type { Key } from "react-aria-components";
import { ToggleButton } from "react-aria-components/ToggleButton";
import { ToggleButtonGroup } from "react-aria-components/ToggleButtonGroup";

interface ChoiceProps<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly options: readonly (readonly [value: T, text: string])[];
  readonly onChange: (value: T) => void;
}

/** One of a few, side by side. */
export function Choice<T extends string>({ label, value, options, onChange }: ChoiceProps<T>) {
  const choose = (keys: Set<Key>) => {
    const chosen = options.find(([option]) => keys.has(option));
    if (chosen) onChange(chosen[0]);
  };
  return (
    <ToggleButtonGroup
      className="choice"
      aria-label={label}
      selectionMode="single"
      disallowEmptySelection
      selectedKeys={[value]}
      onSelectionChange={choose}
    >
      {options.map(([option, text]) => (
        <ToggleButton key={option} id={option} className="choice-option">
          {text}
        </ToggleButton>
      ))}
    </ToggleButtonGroup>
  );
}
