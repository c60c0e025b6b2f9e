import { Button, Code, Group, Modal, Text, TextInput } from "@mantine/core";
import { IconX } from "../../parts/icons";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { Ago } from "../../parts/Times";
import { Trouble } from "../../parts/Trouble";
import { bytes, count } from "../../parts/words";
import { type Environment, usePin, useRemove } from "./queries";
import { Readiness } from "./Readiness";

interface DetailsProps {
  workspace: string;
  environment: Environment;
  users: { flows: string[]; pools: string[] };
}

/** One environment: why it is there, what is in it, what keeps it from being built. */
export function Details({ workspace, environment: row, users }: DetailsProps) {
  const [text, setText] = useState("");
  const [removing, setRemoving] = useState(false);
  const pin = usePin();
  const asked = (row.manifest.requirements as [string, boolean][] | undefined) ?? [];
  const shown = row.packages.filter((each) => each.name.toLowerCase().includes(text.toLowerCase()));
  const words = row.error?.detail.words;
  return (
    <section className="panel environments-details" aria-label="This environment">
      <h2>
        <Readiness environment={row} />
        <span className="grow" />
        <Button
          size="compact-xs"
          variant="default"
          loading={pin.isPending}
          title={row.pinned ? "It may be tidied away again" : "It is never tidied away"}
          onClick={() => pin.mutate({ digest: row.digest, pinned: !row.pinned })}
        >
          {row.pinned ? "Unpin" : "Pin"}
        </Button>
        <Button
          size="compact-xs"
          variant="default"
          disabled={row.in_use.length > 0 || row.state === "building"}
          title={row.in_use.length > 0 ? `In use by ${count(row.in_use.length, "process", "processes")}` : undefined}
          onClick={() => setRemoving(true)}
        >
          Remove
        </Button>
        <Link to="?" className="environments-close" aria-label="Close the details">
          <IconX size={16} aria-hidden />
        </Link>
      </h2>
      <div className="environments-body">
        {pin.error && <Trouble error={pin.error} />}
        {row.error && (
          <div role="alert">
            <Text size="sm" className="state-failed" fw={600}>
              {row.error.message}
            </Text>
            {typeof words === "string" && (
              <Code block mt={8} className="environments-words">
                {words}
              </Code>
            )}
            <Text size="sm" mt={8}>
              {row.error.hint}
            </Text>
          </div>
        )}
        {row.progress && (
          <Text size="sm" className="state-running" role="status">
            {row.progress.message}
          </Text>
        )}
        <dl>
          <dt>Used by</dt>
          <dd>
            {users.flows.map((flow) => (
              <Link key={flow} to={`/w/${workspace}/flows/${flow}`}>
                {flow}
              </Link>
            ))}
            {users.pools.map((kind) => (
              <span key={kind}>the {kind} pool</span>
            ))}
            {users.flows.length + users.pools.length === 0 && <span className="quiet">no flow of this workspace as it is now</span>}
          </dd>
          <dt>Declared in</dt>
          <dd>{String(row.manifest.why ?? row.manifest.file ?? "")}</dd>
          <dt>Asks for</dt>
          <dd className="mono">{asked.map(([requirement]) => requirement).join(", ") || "nothing but Flowstead's own part"}</dd>
          <dt>Python</dt>
          <dd className="mono">{row.python ?? String(row.manifest.requires_python ?? "any that fits")}</dd>
          {row.size !== null && (
            <>
              <dt>Size</dt>
              <dd>
                {bytes(row.size)}
                {row.own_size !== null && <span className="quiet">, removing gives back {bytes(row.own_size)} at least</span>}
              </dd>
            </>
          )}
          <dt>{row.state === "failed" ? "Tried" : "Built"}</dt>
          <dd>
            <Ago at={row.created} />
            {row.state !== "failed" && <span className="quiet">, last used <Ago at={row.last_used} /></span>}
          </dd>
          <dt>Digest</dt>
          <dd className="mono">{row.digest}</dd>
        </dl>
        {row.packages.length > 0 && (
          <>
            <TextInput
              size="xs"
              type="search"
              aria-label="Filter packages"
              placeholder={`Filter ${count(row.packages.length, "package")}`}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
            />
            <ul className="environments-packages mono" aria-label="Packages">
              {shown.map((each) => (
                <li key={each.name}>
                  <span>{each.name}</span>
                  <span className="quiet">{each.version}</span>
                </li>
              ))}
            </ul>
            {shown.length === 0 && <Text size="sm" className="quiet">No package is called so.</Text>}
          </>
        )}
      </div>
      {removing && <Remove environment={row} flows={users.flows} onClose={() => setRemoving(false)} />}
    </section>
  );
}

function Remove({ environment, flows, onClose }: { environment: Environment; flows: string[]; onClose: () => void }) {
  const remove = useRemove();
  const navigate = useNavigate();
  return (
    <Modal opened onClose={onClose} title="Remove this environment?">
      <div style={{ display: "grid", gap: 12 }}>
        <Text size="sm">
          {flows.length > 0
            ? `It is built anew when ${flows.slice(0, 3).join(", ")} ${flows.length === 1 ? "runs" : "run"} the next time, which takes a while.`
            : "Nothing in this workspace runs in it. Flows of other workspaces would have it built anew."}
        </Text>
        {remove.error && <Trouble error={remove.error} />}
        <Group justify="flex-end" gap="sm">
          <Button size="compact-sm" variant="default" data-autofocus onClick={onClose}>
            Keep it
          </Button>
          <Button
            size="compact-sm"
            color="red"
            loading={remove.isPending}
            onClick={() => remove.mutate(environment.digest, { onSuccess: () => navigate("?", { replace: true }) })}
          >
            Remove
          </Button>
        </Group>
      </div>
    </Modal>
  );
}
