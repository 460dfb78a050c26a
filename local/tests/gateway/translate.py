"""Translates a SAM template with AWS's own translator, as CloudFormation does, and prints the result as JSON.

References to parameters without a default stay as written. Like `sam package`, this script replaces the local path of
the code with an address in S3.
"""

import json
import logging
import os
import sys

# The translator requires a region, which does not affect the printed result.
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

try:
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse
except ImportError:
    sys.exit(3)


class ManagedPolicies:
    """The ARNs of the template's managed policies. The translator would otherwise request them from IAM."""

    def load(self):
        name = "AWSLambdaVPCAccessExecutionRole"
        return {name: f"arn:aws:iam::aws:policy/service-role/{name}"}


logging.disable(logging.CRITICAL)
with open(sys.argv[1]) as file:
    template = yaml_parse(file.read())
template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
defaults = {
    name: parameter["Default"]
    for name, parameter in template["Parameters"].items()
    if "Default" in parameter
}
json.dump(transform(template, defaults, ManagedPolicies()), sys.stdout)
