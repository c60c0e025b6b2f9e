import { Title } from "@mantine/core";

export default function Flow() {
  return <Title order={1}>Flow</Title>;
}
