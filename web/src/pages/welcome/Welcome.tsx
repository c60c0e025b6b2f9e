import { Button, Code, Loader, TextInput, Title } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Navigate, useNavigate } from "react-router";
import { api, take } from "../../api/client";
import { workspaces } from "../../api/queries";
import icon from "../../icon.svg";
import { Trouble } from "../../parts/Trouble";
import "./welcome.css";

/** The workspace that was selected, else one that is open, else the first; without any, how to get one. */
export default function Welcome() {
  const known = useQuery({ ...workspaces, refetchInterval: 5000 });
  if (known.error && !known.data) return <Trouble error={known.error} />;
  if (!known.data) return <Loader m="xl" size="sm" />;
  const all = known.data.workspaces;
  const chosen = all.find((each) => each.selected) ?? all.find((each) => each.open) ?? all[0];
  if (chosen) return <Navigate to={`/w/${chosen.workspace}`} replace />;
  return (
    <main className="welcome">
      <img src={icon} alt="" width={48} height={48} />
      <Title order={1}>A folder of Python flows, run and watched</Title>
      <p className="quiet">This machine knows no workspace yet. There are three ways to one.</p>
      <div className="ways">
        <Way
          to="/api/v1/workspaces/demo"
          title="See it work"
          about="A month of flights out of New York: files become tables, a DuckDB mart, a workbook and a picture."
          path="~/flowstead-demo"
          verb="Make the demo"
          command="flowstead demo --keep flowstead-demo"
        />
        <Way
          to="/api/v1/workspaces/create"
          title="Start your own"
          about="Makes the folder, with a first flow to change. What is in it already stays as it is."
          path="~/flows"
          verb="Make it a workspace"
          command="flowstead init flows"
        />
        <Way
          to="/api/v1/workspaces"
          title="Open one that is there"
          about="A folder with flow_modules in it: your own, or one that a team shares."
          path=""
          verb="Open"
          command="flowstead workspace add FOLDER"
        />
      </div>
    </main>
  );
}

interface WayProps {
  to: "/api/v1/workspaces" | "/api/v1/workspaces/create" | "/api/v1/workspaces/demo";
  title: string;
  about: string;
  path: string;
  verb: string;
  command: string;
}

function Way({ to, title, about, path, verb, command }: WayProps) {
  const [folder, setFolder] = useState(path);
  const client = useQueryClient();
  const navigate = useNavigate();
  const make = useMutation({
    mutationFn: () => take(api.POST(to, { body: { path: folder } })),
    onSuccess: async ({ workspace }) => {
      await client.invalidateQueries({ queryKey: workspaces.queryKey });
      void navigate(`/w/${workspace}`);
    },
  });
  return (
    <form
      className="panel way"
      aria-label={title}
      onSubmit={(event) => {
        event.preventDefault();
        make.mutate();
      }}
    >
      <h2>{title}</h2>
      <p>{about}</p>
      <TextInput
        label="Folder"
        placeholder="/path/to/folder"
        value={folder}
        onChange={(event) => setFolder(event.currentTarget.value)}
        spellCheck={false}
      />
      {make.error && <Trouble error={make.error} />}
      <Button type="submit" loading={make.isPending} disabled={folder.trim() === ""}>
        {verb}
      </Button>
      <span className="quiet">
        or <Code>{command}</Code>
      </span>
    </form>
  );
}
