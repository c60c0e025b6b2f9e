import { useCallback } from "react";
import { useSearchParams } from "react-router";

/** What is chosen on a page stands in its address; `put` changes some of it, takes away what is null, and leaves the rest. */
export function useAddress() {
  const [address, setAddress] = useSearchParams();
  const put = useCallback(
    (changes: Record<string, string | null>, { replace = true } = {}) =>
      setAddress(
        () => {
          // As it is by now: two changes may come before either is drawn.
          const next = new URLSearchParams(window.location.search);
          for (const [name, value] of Object.entries(changes))
            if (value === null) next.delete(name);
            else next.set(name, value);
          return next;
        },
        { replace },
      ),
    [setAddress],
  );
  return { address, put };
}
