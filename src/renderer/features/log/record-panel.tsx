import { Tab, TabList, TabPanel, TabPanels, Tabs } from "react-aria-components/Tabs";
import { ScrollRegion } from "../../components/scroll-region.tsx";
import { useAppLists } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";
import { Samples } from "../samples/samples.tsx";
import { LogView } from "./log-view.tsx";

/** What is there to read: the model's own text, and what happened. */
export function RecordPanel() {
  const texts = strings.log;
  return (
    <section className="panel record" aria-label={texts.tabsLabel}>
      <Tabs className="tabs">
        <TabList className="tab-list" aria-label={texts.tabsLabel}>
          <Tab id="samples" className="tab">
            {strings.samples.title}
          </Tab>
          <Tab id="run" className="tab">
            {texts.runTab}
          </Tab>
          <Tab id="machine" className="tab">
            {texts.machineTab}
          </Tab>
        </TabList>
        <TabPanels className="tab-panels">
          <TabPanel id="samples" className="tab-panel">
            <ScrollRegion label={strings.samples.title}>
              <Samples />
            </ScrollRegion>
          </TabPanel>
          <TabPanel id="run" className="tab-panel">
            <RunLog />
          </TabPanel>
          <TabPanel id="machine" className="tab-panel">
            <MachineLog />
          </TabPanel>
        </TabPanels>
      </Tabs>
    </section>
  );
}

function RunLog() {
  const entries = useAppLists((lists) => lists.runLog);
  return <LogView label={strings.log.runLabel} entries={entries} levels={["info", "warning", "error"]} />;
}

function MachineLog() {
  const entries = useAppLists((lists) => lists.log);
  return <LogView label={strings.log.machineLabel} entries={entries} levels={["debug", "info", "warning", "error"]} />;
}
