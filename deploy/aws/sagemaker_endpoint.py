"""Put an image and a bundle behind a SageMaker endpoint, or take it away again; needs boto3 and your credentials.

python deploy/aws/sagemaker_endpoint.py create NAME --image URI --model s3://…/model.tar.gz --role ARN
python deploy/aws/sagemaker_endpoint.py delete NAME
"""

import argparse
from collections.abc import Sequence
from typing import Any

import boto3

MEGABYTES = (1024, 2048, 3072, 4096, 5120, 6144)


def create(client: Any, arguments: argparse.Namespace) -> str:
    """Model, configuration and endpoint of one name; returns the endpoint's ARN, which is in service minutes later."""
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
    """Endpoint, configuration and model of one name, in this order: what is in use cannot be deleted."""
    client.delete_endpoint(EndpointName=arguments.name)
    client.delete_endpoint_config(EndpointConfigName=arguments.name)
    client.delete_model(ModelName=arguments.name)
    return f"{arguments.name} is deleted"


def build_parser() -> argparse.ArgumentParser:
    root_parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = root_parser.add_subparsers(required=True)
    create_parser = actions.add_parser("create")
    create_parser.add_argument("name")
    create_parser.add_argument("--image", required=True, help="in ECR, of the Dockerfile's target sagemaker")
    create_parser.add_argument("--model", required=True, help="a model.tar.gz of the bundle's files, in S3")
    create_parser.add_argument("--role", required=True, help="ARN of a role that may read both")
    create_parser.add_argument("--instance", default="ml.c5.large")
    create_parser.add_argument(
        "--serverless", type=int, choices=MEGABYTES, help="no instance, but so many MB as needed"
    )
    create_parser.add_argument(
        "--count", type=int, default=1, help="instances, or serverless calls at once (default 1)"
    )
    create_parser.set_defaults(action=create)
    delete_parser = actions.add_parser("delete")
    delete_parser.add_argument("name")
    delete_parser.set_defaults(action=delete)
    return root_parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    print(arguments.action(boto3.client("sagemaker"), arguments))


if __name__ == "__main__":
    main()
