import { askForChecks, askForProcesses, useAnswer } from "../../components/answer.ts";
import { strings } from "../../strings/strings.ts";
import { MachineDialog } from "./machine-dialog.tsx";

const texts = strings.check;

/** Whether this machine is fit to train, and the processes that work on it. */
export function CheckDialog() {
  return (
    <MachineDialog texts={texts}>
      {() => (
        <>
          <Checks />
          <h3>{texts.processes}</h3>
          <Processes />
        </>
      )}
    </MachineDialog>
  );
}

function Checks() {
  const answer = useAnswer(askForChecks);
  if (answer.kind === "asking") return <p role="status">{texts.asking}</p>;
  if (answer.kind === "failed") return <p role="alert">{answer.reason}</p>;
  return (
    <ul className="checks">
      {answer.value.checks.map(({ name, ok, detail, action }) => (
        <li key={name} data-ok={ok}>
          <strong>{ok ? texts.passed : texts.failed}</strong>
          <div>
            <p>{name}</p>
            <p className="check-detail">{detail}</p>
            {action && <p className="check-action">{action}</p>}
          </div>
        </li>
      ))}
    </ul>
  );
}

function Processes() {
  const answer = useAnswer(askForProcesses);
  if (answer.kind === "asking") return <p role="status">{strings.asking}</p>;
  if (answer.kind === "failed") return <p role="alert">{answer.reason}</p>;
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">{texts.columns.role}</th>
          <th scope="col">{texts.columns.name}</th>
          <th scope="col" className="number">
            {texts.columns.pid}
          </th>
          <th scope="col">{texts.columns.state}</th>
        </tr>
      </thead>
      <tbody>
        {answer.value.map(({ role, name, pid, alive }) => (
          <tr key={`${role} ${name} ${pid}`}>
            <td>{strings.processRoles[role]}</td>
            <th scope="row">{name}</th>
            <td className="number">{pid}</td>
            <td>{alive ? texts.alive : texts.dead}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
