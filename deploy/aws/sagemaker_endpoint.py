"""Put an image and a bundle behind a SageMaker endpoint, or take it away again; needs boto3 and your credentials.

python deploy/aws/sagemaker_endpoint.py create NAME --image URI --model s3://…/model.tar.gz --role ARN
python deploy/aws/sagemaker_endpoint.py delete NAME
"""

import argparse
from collections.abc import Sequence
from typing import Any

import boto3

MEGABYTES = (1024, 2048, 3072, 4096, 5120, 6144)


def create(client: Any, words: argparse.Namespace) -> str:
    """Model, configuration and endpoint of one name; returns the endpoint's ARN, which is in service minutes later."""
    variant: dict[str, Any] = {"VariantName": "only", "ModelName": words.name}
    if words.serverless:
        variant["ServerlessConfig"] = {"MemorySizeInMB": words.serverless, "MaxConcurrency": words.count}
    else:
        variant |= {"InstanceType": words.instance, "InitialInstanceCount": words.count}
    client.create_model(
        ModelName=words.name,
        PrimaryContainer={"Image": words.image, "ModelDataUrl": words.model},
        ExecutionRoleArn=words.role,
    )
    client.create_endpoint_config(EndpointConfigName=words.name, ProductionVariants=[variant])
    arn: str = client.create_endpoint(EndpointName=words.name, EndpointConfigName=words.name)["EndpointArn"]
    return arn


def delete(client: Any, words: argparse.Namespace) -> str:
    """Endpoint, configuration and model of one name, in this order: what is in use cannot be deleted."""
    client.delete_endpoint(EndpointName=words.name)
    client.delete_endpoint_config(EndpointConfigName=words.name)
    client.delete_model(ModelName=words.name)
    return f"{words.name} is deleted"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = top.add_subparsers(required=True)
    making = actions.add_parser("create")
    making.add_argument("name")
    making.add_argument("--image", required=True, help="in ECR, of the Dockerfile's target sagemaker")
    making.add_argument("--model", required=True, help="a model.tar.gz of the bundle's files, in S3")
    making.add_argument("--role", required=True, help="ARN of a role that may read both")
    making.add_argument("--instance", default="ml.c5.large")
    making.add_argument("--serverless", type=int, choices=MEGABYTES, help="no instance, but so many MB as needed")
    making.add_argument("--count", type=int, default=1, help="instances, or serverless calls at once (default 1)")
    making.set_defaults(action=create)
    ending = actions.add_parser("delete")
    ending.add_argument("name")
    ending.set_defaults(action=delete)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    words = parser().parse_args(argv)
    print(words.action(boto3.client("sagemaker"), words))


if __name__ == "__main__":
    main()
