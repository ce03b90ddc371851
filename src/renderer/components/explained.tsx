import { Button } from "react-aria-components/Button";
import { Tooltip, TooltipTrigger } from "react-aria-components/Tooltip";

/** A figure's name, and on hover or focus one line on what it means: [name, explanation]. */
export function Explained({ text: [name, explanation] }: { text: readonly [string, string] }) {
  return (
    <TooltipTrigger delay={350} closeDelay={80}>
      <Button className="explained">{name}</Button>
      <Tooltip className="tooltip" offset={6}>
        {explanation}
      </Tooltip>
    </TooltipTrigger>
  );
}
