import { Title } from "@mantine/core";

export default function Activity() {
  return <Title order={1}>Activity</Title>;
}
