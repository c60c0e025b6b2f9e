import { Title } from "@mantine/core";

export default function Docs() {
  return <Title order={1}>Docs</Title>;
}
