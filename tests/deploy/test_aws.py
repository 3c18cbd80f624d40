"""The AWS requests of `deploy/aws/`, validated with botocore and moto without network access."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.dockerfile import DEPLOY_DIR, get_instruction

from cnn_classifier.cli.parser import build_parser

AWS = DEPLOY_DIR / "aws"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3 with the AWS mocks of moto."""
    moto = pytest.importorskip("moto", reason="moto is not installed")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with moto.mock_aws(config={"lambda": {"use_docker": False}}):
        yield pytest.importorskip("boto3")


def load_parameters(name: str) -> dict[str, Any]:
    """Load the parameters of an API call, which botocore validates."""
    content: dict[str, Any] = json.loads((AWS / name).read_text())
    return content


def test_task_definition_is_valid(aws: Any) -> None:
    task = aws.client("ecs").register_task_definition(**load_parameters("task-definition.json"))["taskDefinition"]
    assert task["taskDefinitionArn"].endswith("task-definition/cnn-classifier:1")
    (container,) = task["containerDefinitions"]
    arguments = build_parser().parse_args(["serve", *container["command"]])
    assert arguments.port == container["portMappings"][0]["containerPort"] == 8080
    assert container["readonlyRootFilesystem"]
    assert container["user"] == get_instruction("serve", "USER")
    assert container["stopTimeout"] > 25  # the shutdown timeout of the service


def test_lambda_function_is_valid(aws: Any) -> None:
    parameters = load_parameters("lambda.json")
    trust_policy = {"Version": "2012-10-17", "Statement": []}
    role = aws.client("iam").create_role(
        RoleName="cnn-classifier-lambda", AssumeRolePolicyDocument=json.dumps(trust_policy)
    )
    assert aws.client("lambda").create_function(**parameters | {"Role": role["Role"]["Arn"]})["PackageType"] == "Image"
    assert re.search(r"/opt/extensions/lambda-adapter$", get_instruction("lambda", "COPY"))


@pytest.mark.parametrize("options", [[], ["--serverless", "2048", "--count", "5"]])
def test_sagemaker_endpoint_is_created_and_deleted(
    aws: Any, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from deploy.aws.sagemaker_endpoint import main

    role = "arn:aws:iam::123456789012:role/sagemaker"
    main(["create", "cats", "--image", "image:1", "--model", "s3://here/model.tar.gz", "--role", role, *options])
    assert ":endpoint/cats" in capsys.readouterr().out
    client = aws.client("sagemaker")
    (variant,) = client.describe_endpoint_config(EndpointConfigName="cats")["ProductionVariants"]
    if options:
        assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    else:
        assert variant["InitialInstanceCount"] == 1
    container = client.describe_model(ModelName="cats")["PrimaryContainer"]
    assert container["ModelDataUrl"] == "s3://here/model.tar.gz"

    main(["delete", "cats"])
    assert client.list_endpoints()["Endpoints"] == client.list_models()["Models"] == []
