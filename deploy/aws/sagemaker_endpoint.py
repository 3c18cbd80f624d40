"""Creation and deletion of a SageMaker endpoint for an image and a bundle. Requires boto3 and AWS credentials.

python deploy/aws/sagemaker_endpoint.py create NAME --image URI --model s3://…/model.tar.gz --role ARN
python deploy/aws/sagemaker_endpoint.py delete NAME
"""

import argparse
from collections.abc import Sequence
from typing import Any

import boto3

SERVERLESS_MEMORY_MB = (1024, 2048, 3072, 4096, 5120, 6144)


def create(client: Any, arguments: argparse.Namespace) -> str:
    """Create a model, an endpoint configuration and an endpoint with the same name.

    Args:
        client: The boto3 client of SageMaker.
        arguments: The parsed arguments of `create`.

    Returns:
        The ARN of the endpoint, which is in service a few minutes later.
    """
    variant: dict[str, Any] = {"VariantName": "only", "ModelName": arguments.name}
    if arguments.serverless:
        variant["ServerlessConfig"] = {"MemorySizeInMB": arguments.serverless, "MaxConcurrency": arguments.count}
    else:
        variant |= {"InstanceType": arguments.instance, "InitialInstanceCount": arguments.count}
    client.create_model(
        ModelName=arguments.name,
        PrimaryContainer={"Image": arguments.image, "ModelDataUrl": arguments.model},
        ExecutionRoleArn=arguments.role,
    )
    client.create_endpoint_config(EndpointConfigName=arguments.name, ProductionVariants=[variant])
    arn: str = client.create_endpoint(EndpointName=arguments.name, EndpointConfigName=arguments.name)["EndpointArn"]
    return arn


def delete(client: Any, arguments: argparse.Namespace) -> str:
    """Delete the endpoint, its configuration and its model, in this order, because resources in use cannot be deleted.

    Args:
        client: The boto3 client of SageMaker.
        arguments: The parsed arguments of `delete`.

    Returns:
        A confirmation.
    """
    client.delete_endpoint(EndpointName=arguments.name)
    client.delete_endpoint_config(EndpointConfigName=arguments.name)
    client.delete_model(ModelName=arguments.name)
    return f"Deleted {arguments.name}."


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `create` and `delete`."""
    root_parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = root_parser.add_subparsers(required=True)
    create_parser = subparsers.add_parser("create")
    create_parser.add_argument("name")
    create_parser.add_argument(
        "--image", required=True, help="URI in ECR of an image built from the Dockerfile target sagemaker"
    )
    create_parser.add_argument("--model", required=True, help="S3 URI of a model.tar.gz with the files of the bundle")
    create_parser.add_argument("--role", required=True, help="ARN of a role with read access to both")
    create_parser.add_argument("--instance", default="ml.c5.large", help="instance type (default: ml.c5.large)")
    create_parser.add_argument(
        "--serverless", type=int, choices=SERVERLESS_MEMORY_MB, help="memory in MB of a serverless endpoint"
    )
    create_parser.add_argument(
        "--count", type=int, default=1, help="number of instances, or of concurrent serverless calls (default: 1)"
    )
    create_parser.set_defaults(action=create)
    delete_parser = subparsers.add_parser("delete")
    delete_parser.add_argument("name")
    delete_parser.set_defaults(action=delete)
    return root_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Create or delete an endpoint."""
    arguments = build_parser().parse_args(argv)
    print(arguments.action(boto3.client("sagemaker"), arguments))


if __name__ == "__main__":
    main()
