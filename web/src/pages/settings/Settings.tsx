import { Title } from "@mantine/core";

export default function Settings() {
  return <Title order={1}>Settings</Title>;
}
