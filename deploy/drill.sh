#!/bin/sh
# The drill of a restore, with the meter running: takes a backup of the books that DATABASE_URL names, restores it elsewhere,
# and compares what both say. It changes nothing of the books, and ends with 0 only if every project says the same.
set -eu
: "${DATABASE_URL:?the books, as sqlite://…}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tell() {
  meter project list --json
  # What was used and what is billed, of each project.
  meter project list --json | grep -o '"id": *"[^"]*"' | cut -d'"' -f4 | while read -r project; do
    meter invoices --project "$project" --json
    meter usage --project "$project" --json
  done
}
meter backup "$folder/copy.db"
# The copy, not the books that go on growing, is what the restored ones are compared with.
DATABASE_URL="sqlite://$folder/copy.db" tell >"$folder/copy.txt"
DATABASE_URL="sqlite://$folder/restored.db" meter restore "$folder/copy.db"
DATABASE_URL="sqlite://$folder/restored.db" tell >"$folder/restored.txt"
# Policies of restored books have higher versions, so that the edge takes them.
for name in copy restored; do
  sed 's/"policy_version": *[0-9]*/"policy_version":0/g' "$folder/$name.txt" >"$folder/$name.cmp"
done
cmp "$folder/copy.cmp" "$folder/restored.cmp"
[ -s "$folder/copy.cmp" ]
echo "the backup restores: $(wc -c <"$folder/copy.db") bytes, $(wc -l <"$folder/copy.cmp") lines that agree" >&2
