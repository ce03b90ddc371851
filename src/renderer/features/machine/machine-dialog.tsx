import type { ReactNode } from "react";
import { Button } from "react-aria-components/Button";
import { Dialog, DialogTrigger, Heading } from "react-aria-components/Dialog";
import { Modal, ModalOverlay } from "react-aria-components/Modal";

interface MachineDialogProps {
  /** On its button, in its heading, and on the button that closes it. */
  readonly texts: { readonly open: string; readonly title: string; readonly close: string };
  readonly children: (close: () => void) => ReactNode;
}

/** A button, and the dialog that it opens. */
export function MachineDialog({ texts, children }: MachineDialogProps) {
  return (
    <DialogTrigger>
      <Button className="button small">{texts.open}</Button>
      <ModalOverlay className="overlay" isDismissable>
        <Modal className="modal">
          <Dialog className="dialog">
            {({ close }) => (
              <>
                <div className="panel-head">
                  <Heading slot="title" level={2}>
                    {texts.title}
                  </Heading>
                  <Button className="button small" onPress={close}>
                    {texts.close}
                  </Button>
                </div>
                {children(close)}
              </>
            )}
          </Dialog>
        </Modal>
      </ModalOverlay>
    </DialogTrigger>
  );
}
