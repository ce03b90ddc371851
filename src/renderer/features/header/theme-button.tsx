import { Button } from "react-aria-components/Button";
import { useTheme } from "../../components/palette.ts";
import { chooseTheme } from "../../components/theme.ts";
import { strings } from "../../strings/strings.ts";

export function ThemeButton() {
  const theme = useTheme();
  const other = theme === "dark" ? "light" : "dark";
  return (
    <Button
      className="button icon"
      aria-label={other === "light" ? strings.theme.toLight : strings.theme.toDark}
      onPress={() => chooseTheme(other)}
    >
      <svg viewBox="0 0 16 16" aria-hidden="true" focusable="false">
        <circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" strokeWidth="1.4" />
        <path d="M8 1.8a6.2 6.2 0 0 1 0 12.4Z" fill="currentColor" />
      </svg>
    </Button>
  );
}
