// What is shown where no page is.
import { Empty, Go, Page } from "../ui/parts";

export const Missing = () => (
  <Page title="Nothing is here">
    <Empty title="No page is at this address."><Go to="/">To the Command Center</Go></Empty>
  </Page>
);
