"""What schemathesis has to know: how bodies that are no JSON are written, and what to leave alone."""

import schemathesis

schemathesis.serializer.alias(["application/pkcs10", "application/ocsp-request"], "application/octet-stream")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Enrolls under a DMS that nobody rewrites: by contract one that cannot work answers 500."""
    parameters = case.path_parameters or {}
    if parameters.get("label") == "assembly-line-1":
        parameters["label"] = "line"
