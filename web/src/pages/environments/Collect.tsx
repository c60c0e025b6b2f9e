import { Button, Group, Modal, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { Trouble } from "../../parts/Trouble";
import { bytes, count } from "../../parts/words";
import { collectable, type Environment, useCollect } from "./queries";

const STEPS = { cold: "set aside first", deleted: "deleted", leftover: "left by a build that was killed" } as const;

interface CollectProps {
  rows: Environment[];
  name: (row: Environment) => string;
  onClose: () => void;
}

/** Tidies up, after showing what would go and why. */
export function Collect({ rows, name, onClose }: CollectProps) {
  const { workspace = "" } = useParams();
  const look = useQuery(collectable);
  const collect = useCollect();
  const going = collect.data?.collected ?? look.data?.collected ?? [];
  const freed = going.reduce((sum, each) => sum + each.size, 0);
  return (
    <Modal opened onClose={onClose} size="lg" title="Tidy up environments">
      <div style={{ display: "grid", gap: 12 }}>
        {(look.error ?? collect.error) && <Trouble error={(look.error ?? collect.error) as Error} />}
        {look.data && going.length === 0 && !collect.data && (
          <Text size="sm" role="status">
            Nothing would go: everything is in use, pinned, or was used not long ago. How long that is stands in the{" "}
            <Link to={`/w/${workspace}/settings?find=environment`}>settings</Link>.
          </Text>
        )}
        {going.length > 0 && (
          <>
            <Text size="sm" role="status">
              {collect.data ? "Done with " : "This would go: "}
              {count(going.length, "environment")}, {bytes(freed)}.
            </Text>
            <table className="rows">
              <thead>
                <tr>
                  <th>Environment</th>
                  <th>What happens</th>
                  <th>Why</th>
                  <th className="right">Size</th>
                </tr>
              </thead>
              <tbody>
                {going.map((each) => {
                  const row = rows.find((known) => known.digest === each.digest);
                  return (
                    <tr key={`${each.digest} ${each.id}`}>
                      <td title={each.digest}>{row ? name(row) : each.digest.slice(0, 12)}</td>
                      <td>{STEPS[each.step]}</td>
                      <td>{each.why}</td>
                      <td className="mono right">{bytes(each.size)}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </>
        )}
        <Group justify="flex-end" gap="sm">
          <Button size="compact-sm" variant="default" data-autofocus onClick={onClose}>
            {collect.data || going.length === 0 ? "Close" : "Leave it"}
          </Button>
          {!collect.data && going.length > 0 && (
            <Button size="compact-sm" loading={collect.isPending} onClick={() => collect.mutate()}>
              Tidy up
            </Button>
          )}
        </Group>
      </div>
    </Modal>
  );
}
