"""Lints every *.crt and *.crl of a directory in one process: starting pkilint costs more than
linting. Prints a line for each finding of an error or worse, and at the end how many files it read.
"""

import pathlib
import sys

from pkilint import loader, pkix, report, validation
from pkilint.pkix import certificate, crl, extension, name


def certificate_linter():
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def crl_linter():
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


KINDS = {
    ".crt": (loader.RFC5280CertificateDocumentLoader(), certificate_linter()),
    ".crl": (loader.RFC5280CertificateListDocumentLoader(), crl_linter()),
}


def findings(path):
    load, linter = KINDS[path.suffix]
    document = load.load_der_document(path.read_bytes(), path.name)
    results = linter.validate(document.root)
    error = validation.ValidationFindingSeverity.ERROR
    text = report.ReportGeneratorPlaintext(results, error).generate()
    return text.strip()


def main():
    n_files = 0
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        if path.suffix in KINDS:
            n_files += 1
            try:
                found = findings(path)
            except ValueError as error:
                found = f"cannot be read: {error}"
            if found:
                print(path.name, found)
    print(n_files, "files")


main()
