"""This file prepares the emulator for the bench, because the bench itself runs what triggers would run."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ..certificates import Certificates
from ..ministack import MiniStack
from ..progress import wait_for

TABLE_SECONDS_MAX = 30.0
SCHEDULE_FIELDS = ["Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target"]
TABLE_FIELDS = ["TableName", "AttributeDefinitions", "KeySchema"]
INDEX_FIELDS = ["IndexName", "KeySchema", "Projection"]


def silence(aws: MiniStack) -> None:
    """Stops the schedules and the mappings, because the bench's own process does what they would start."""
    functions, schedules = aws.client("lambda"), aws.client("scheduler")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    for listed in schedules.list_schedules()["Schedules"]:
        found = schedules.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
        schedules.update_schedule(**_only(found, SCHEDULE_FIELDS), State="DISABLED")


def forget(aws: MiniStack, outputs: Mapping[str, str]) -> None:
    """Empties the table and the queue."""
    tables = aws.client("dynamodb")
    found = tables.describe_table(TableName=outputs["TableName"])["Table"]
    tables.delete_table(TableName=outputs["TableName"])
    wait_for("the table to be gone", lambda: _is_gone(tables, outputs["TableName"]), TABLE_SECONDS_MAX, "try again")
    indexes = [_only(index, INDEX_FIELDS) for index in found["GlobalSecondaryIndexes"]]
    tables.create_table(**_only(found, TABLE_FIELDS), GlobalSecondaryIndexes=indexes, BillingMode="PAY_PER_REQUEST")
    aws.client("sqs").purge_queue(QueueUrl=outputs["IncomingEmailQueueUrl"])


def environment(aws: MiniStack, outputs: Mapping[str, str], certificates: Certificates, port: int) -> dict[str, str]:
    """The variables that a process of the bench needs to work as a function; its calls to AWS go to `port`."""
    return {
        **aws.environment,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "DEPLOYMENT": "local",
        "TABLE_NAME": outputs["TableName"],
        "BUCKET_NAME": outputs["BucketName"],
        "KMS_KEY_ID": outputs["KmsKeyId"],
        "INCOMING_EMAIL_QUEUE_URL": outputs["IncomingEmailQueueUrl"],
        "INTERNAL_HOSTS": "allow",
        "EXTRA_CA_PEM": certificates.ca.read_text(),
    }


def _is_gone(tables: Any, name: str) -> bool:
    try:
        tables.describe_table(TableName=name)
    except ClientError:
        return True
    return False


def _only(found: Mapping[str, Any], fields: list[str]) -> dict[str, Any]:
    return {field: found[field] for field in fields}
