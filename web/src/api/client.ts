import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Shape = components["schemas"];
export type Run = Shape["Run"];
export type Flow = Shape["Flow"];
export type Overview = Shape["Overview"];
export type FlowOverview = Shape["FlowOverview"];
export type RunBar = Shape["RunBar"];
export type Workspace = Shape["KnownWorkspace"];
export type LogLine = Shape["LogLine"];

/** An error as the daemon tells it: what happened, and what to do. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly status: number,
    readonly detail: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

export const api = createClient<paths>({ baseUrl: window.location.origin });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** What a request answers; raises ApiError, also when nobody answers. */
export async function take<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch {
    throw new ApiError("daemon-away", "The daemon does not answer.", "Start it with: flowstead daemon start", 0);
  }
  if (answer.data !== undefined) return answer.data;
  const told = (answer.error ?? {}) as Partial<ApiError>;
  throw new ApiError(
    told.code ?? "unknown",
    told.message ?? `The daemon answered with ${answer.response.status}.`,
    told.hint ?? "",
    answer.response.status,
    told.detail,
  );
}
