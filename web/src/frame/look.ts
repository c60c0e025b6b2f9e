import { useMantineColorScheme } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useEffect } from "react";

export type Density = "compact" | "comfortable";

/** Compact or comfortable, kept for this browser; console.css says what they are. */
export function useDensity(): [Density, (density: Density) => void] {
  const [density, setDensity] = useLocalStorage<Density>({
    key: "flowstead:density",
    defaultValue: "compact",
    getInitialValueInEffect: false,
  });
  useEffect(() => {
    document.documentElement.dataset.density = density;
  }, [density]);
  return [density, setDensity];
}

/** Light, dark, or what the system says; and the one that follows when it is turned. */
export function useScheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const next = ({ auto: "light", light: "dark", dark: "auto" } as const)[colorScheme];
  return { scheme: colorScheme, next, turn: () => setColorScheme(next) };
}
