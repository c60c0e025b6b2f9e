import "@mantine/core/styles.css";
import "@fontsource-variable/inter";
import "@fontsource-variable/jetbrains-mono";
import "./console.css";
import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { ApiError } from "./api/client";
import { Pages } from "./Pages";
import { theme } from "./theme";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      refetchOnWindowFocus: true,
      // Away is told by the stream, and what is shown stays; everything else is an answer.
      retry: (failures, error) => error instanceof ApiError && error.status === 0 && failures < 20,
      retryDelay: 1500,
    },
  },
});

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content;
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce ?? ""}>
      <QueryClientProvider client={queries}>
        {/* An address counts at once: what is typed or pressed quickly reads what was chosen a moment before. */}
        <BrowserRouter useTransitions={false}>
          <Pages />
        </BrowserRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}
