declare module "tabler:*" {
  const paths: string;
  export default paths;
}
