import { Title } from "@mantine/core";

export default function Editor() {
  return <Title order={1}>Editor</Title>;
}
