import { createTheme, defaultVariantColorsResolver, Modal, type MantineColorsTuple } from "@mantine/core";

/** The one accent: what can be acted on. Colours of states are in console.css. */
const teal: MantineColorsTuple = [
  "#e6fbf8", "#d0f2ed", "#a3e4da", "#72d5c7", "#4ac9b7", "#2fc1ad", "#1cbda7", "#08796d", "#006a5f", "#00574e",
];

/** What is dangerous: the colour of a failure, in both themes. */
const red: MantineColorsTuple = [
  "#fff5f5", "#ffe3e3", "#ffc9c9", "#ffa8a8", "#ff8080", "#ff6b6b", "#dc2626", "#b91c1c", "#991b1b", "#7f1d1d",
];

/** Mantine's own surfaces in the dark take the neutrals of console.css. */
const dark: MantineColorsTuple = [
  "#d5d9de", "#b3bac3", "#9aa3af", "#6b7480", "#3a4048", "#2c3036", "#1f2329", "#17191d", "#121417", "#101114",
];

export const theme = createTheme({
  primaryColor: "teal",
  primaryShade: { light: 7, dark: 4 },
  colors: { teal, red, dark },
  fontFamily: '"Inter Variable", system-ui, sans-serif',
  fontFamilyMonospace: '"JetBrains Mono Variable", ui-monospace, monospace',
  // The size of text follows the density that was chosen: console.css.
  fontSizes: { xs: "11px", sm: "var(--text)", md: "var(--text)", lg: "16px", xl: "20px" },
  spacing: { xs: "4px", sm: "8px", md: "12px", lg: "16px", xl: "24px" },
  radius: { xs: "3px", sm: "6px", md: "6px", lg: "6px", xl: "6px" },
  defaultRadius: "sm",
  headings: { fontWeight: "600", sizes: { h1: { fontSize: "20px" }, h2: { fontSize: "16px" } } },
  respectReducedMotion: true,
  // Filled means a dark ground in light and a light one in dark, so what is written on it is a variable too: console.css.
  variantColorResolver: (input) => {
    const colours = defaultVariantColorsResolver(input);
    return input.variant === "filled" ? { ...colours, color: "var(--on-filled)" } : colours;
  },
  components: {
    // Only the page inside the frame scrolls, so there is nothing to lock; the lock would write styles without a nonce.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, transitionProps: { duration: 100 }, closeButtonProps: { "aria-label": "Close" } } }),
  },
});
