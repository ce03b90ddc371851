/** The project's sign: a house of three stages at night, one window lit. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path className="mark-house" d="M16 3 3 13v15a1 1 0 0 0 1 1h24a1 1 0 0 0 1-1V13Z" />
      <rect className="mark-window" x="7" y="15.5" width="4.6" height="9" rx="1" />
      <rect className="mark-lit" x="13.7" y="15.5" width="4.6" height="9" rx="1" />
      <rect className="mark-window" x="20.4" y="15.5" width="4.6" height="9" rx="1" />
    </svg>
  );
}
