/** The names that authors of flows write most; the guide "Writing flows" tells what they do. */
export const AUTHORING = [
  "Flow", "FlowContext", "FileRef", "Batch", "Choice", "ItemResult", "RunCancelled", "DESCRIPTION",
  "step", "map", "collect", "watch", "mirror", "ask", "save_as", "use", "label", "retries", "retry_delay", "timeout", "checkpoint",
  "context", "current", "objects", "params", "config", "require", "summary", "metadata", "database", "source_metadata",
  "progress", "report", "show", "secret", "check_cancelled", "idempotency_key", "run_id", "save_frame", "save_json",
];
