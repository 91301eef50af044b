// A button that hands over what is seen above it as a file.
import { type Cell, save } from "../csv";

export const SaveCsv = ({ what, file, rows }: { what: string; file: string; rows: () => Cell[][] }) => (
  <p class="save"><button type="button" class="small quiet" aria-label={`CSV of ${what}`} onClick={() => save(file, rows())}>CSV</button></p>
);
