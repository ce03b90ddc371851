import { type ReactNode, useState } from "react";
import { Button } from "react-aria-components/Button";
import { useDashboard } from "../state/store.ts";
import { strings } from "../strings/strings.ts";
import { reasonOf } from "./answer.ts";

interface CommandButtonProps {
  readonly className: string;
  readonly onPress: () => Promise<unknown>;
  readonly children: ReactNode;
  /** Instead of the children until the daemon has answered. */
  readonly busy: string;
}

/** Asks something of the daemon: says that it does, and in words when that failed. */
export function CommandButton({ className, onPress, children, busy }: CommandButtonProps) {
  const connected = useDashboard(({ connection }) => connection.kind === "open");
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const ask = async () => {
    setAsking(true);
    setProblem(null);
    try {
      await onPress();
    } catch (error) {
      setProblem(reasonOf(error));
    } finally {
      setAsking(false);
    }
  };
  return (
    <>
      <Button className={className} onPress={ask} isDisabled={!connected || asking}>
        {asking ? busy : children}
      </Button>
      {problem !== null && (
        <p className="problem" role="alert">
          {strings.intent.failed(problem)}
        </p>
      )}
    </>
  );
}
