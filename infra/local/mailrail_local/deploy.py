"""This file deploys the template to the emulator by CloudFormation, because it is deployed to AWS in the same way."""

import re
from typing import Any

from botocore.exceptions import ClientError

from .functions import Archive
from .ministack import MiniStack
from .paths import TEMPLATE
from .progress import Failed, wait_for

STACK = "mailrail"
ARTIFACTS = "mailrail-artifacts"
DEPLOY_SECONDS_MAX = 180.0
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
FAILED_EVENTS_SHOWN = 5


def deploy(aws: MiniStack, archives: list[Archive], parameters: dict[str, str]) -> dict[str, str]:
    """Creates or updates the stack and returns its outputs."""
    cloudformation = aws.client("cloudformation")
    request = {
        "StackName": STACK,
        "TemplateBody": _packaged_template(aws, archives),
        "Capabilities": CAPABILITIES,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }
    if _status(cloudformation) is None:
        cloudformation.create_stack(**request)
    else:
        try:
            cloudformation.update_stack(**request)
        except ClientError as refused:
            if "No updates are to be performed" not in str(refused):
                raise

    def finished() -> str | None:
        status = _status(cloudformation)
        return status if status and not status.endswith("_IN_PROGRESS") else None

    status = wait_for("the stack to be deployed", finished, DEPLOY_SECONDS_MAX, f"read {aws.log}")
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise Failed(f"the stack ended as {status}; the template's failed resources:\n{_failures(cloudformation)}")
    _make_concurrency_a_number(aws)
    outputs = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _packaged_template(aws: MiniStack, archives: list[Archive]) -> str:
    """The template with every local code folder replaced by an uploaded archive."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=ARTIFACTS)
    template = TEMPLATE.read_text()
    for archive in archives:
        s3.put_object(Bucket=ARTIFACTS, Key=archive.key, Body=archive.content)
        template, replaced = re.subn(
            rf"CodeUri: \.\./target/lambda/{archive.function}/$",
            f"CodeUri: s3://{ARTIFACTS}/{archive.key}",
            template,
            flags=re.MULTILINE,
        )
        if replaced != 1:
            line = f"CodeUri: ../target/lambda/{archive.function}/"
            raise Failed(f"infra/template.yaml has the line `{line}` {replaced} times; it must be once")
    return template


def _make_concurrency_a_number(aws: MiniStack) -> None:
    """Mends a fault of MiniStack: it takes this template parameter as text and cannot compare it with a number."""
    functions = aws.client("lambda")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        most = int(mapping["ScalingConfig"]["MaximumConcurrency"])
        functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": most})


def _status(cloudformation: Any) -> str | None:
    try:
        return str(cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"])
    except ClientError as unknown:
        if "does not exist" in str(unknown):
            return None
        raise


def _failures(cloudformation: Any) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    lines = [
        f"    {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}" for event in failed
    ]
    return "\n".join(lines[-FAILED_EVENTS_SHOWN:]) or "    (none named)"
