"""Judges an export by the official validator of FOCUS: `validate.py FILE`.

Its rules for 1.0 lag behind the specification in the names of four columns; these are given its names first. The check of
currencies wants a list that the package has, at a path below where it is installed.
"""

import os
import pathlib
import sys
import tempfile

import focus_validator
from focus_validator.validator import Validator

RENAMED = {
    "InvoiceIssuerName": "InvoiceIssuer",
    "ProviderName": "Provider",
    "PublisherName": "Publisher",
    "ResourceId": "ResourceID",
}

export = pathlib.Path(sys.argv[1]).read_bytes().decode()
head, rows = export.split("\r\n", 1)
names = [RENAMED.get(name, name) for name in head.split(",")]
os.chdir(pathlib.Path(focus_validator.__file__).parent.parent)
with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder) / "export.csv"
    data.write_bytes((",".join(names) + "\r\n" + rows).encode())
    said = pathlib.Path(folder) / "said.xml"
    Validator(
        data_filename=str(data),
        override_filename=None,
        rule_set_path=str(pathlib.Path(focus_validator.__file__).parent / "rules" / "version_sets"),
        rules_version="1.0",
        output_type="unittest",
        output_destination=str(said),
        column_namespace=None,
    ).validate()
    report = said.read_text()
failed = [line for line in report.splitlines() if "<failure" in line or "<error" in line]
print("\n".join(failed) or f"valid, by {report.count('<testcase')} rules")
sys.exit(1 if failed or "<testcase" not in report else 0)
