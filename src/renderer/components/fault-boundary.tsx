import { Component, type ReactNode } from "react";
import { Button } from "react-aria-components/Button";
import { strings } from "../strings/strings.ts";
import { EmptyState } from "./empty-state.tsx";

/** A bug in the page is said, not hidden behind a blank one. React itself logs the error. */
export class FaultBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="full">
        <EmptyState title={strings.failed.title} detail={strings.failed.detail}>
          <Button className="button primary" onPress={() => location.reload()}>
            {strings.failed.reload}
          </Button>
        </EmptyState>
      </main>
    );
  }
}
