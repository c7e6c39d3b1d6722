"""The images and manifests in docker/ agree with each other and with the pinned versions."""

import re
import subprocess
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.conftest import ROOT

IMAGES = {name: (ROOT / "docker" / f"Dockerfile.{name}").read_text() for name in ("cpu", "cuda")}


def base(image: str) -> str:
    found = re.findall(r"(?m)^FROM (\S+)", image)
    assert len(found) == 1, "one stage, so that there is one Python"
    return str(found[0])


def test_all_nodes_have_the_same_python_to_the_patch() -> None:
    assert base(IMAGES["cpu"]) == base(IMAGES["cuda"])
    assert re.fullmatch(r"python:3\.1[0-2]\.\d+-slim-bookworm", base(IMAGES["cpu"]))


def test_cuda_comes_with_torchs_wheel_alone() -> None:
    pinned = (ROOT / "constraints.txt").read_text()
    (toolkit,) = set(re.findall(r"(?m)^cuda-toolkit==(\d+\.\d+)", pinned))
    assert f"CUDA {toolkit}" in IMAGES["cuda"]
    assert "nvidia/cuda" not in IMAGES["cuda"]
    assert "TORCH_CUDA_ARCH_LIST" not in IMAGES["cuda"], "no operators are compiled"


def test_the_gpu_image_can_use_rdma_and_the_manifest_says_how() -> None:
    assert {"libibverbs1", "ibverbs-providers", "librdmacm1"} <= set(IMAGES["cuda"].split())
    manifest = (ROOT / "docker" / "raycluster.yaml").read_text()
    assert "IPC_LOCK" in manifest
    assert yaml.safe_load(manifest)["kind"] == "RayCluster"


SCHEMAS = ROOT.parent / "shared" / "schemas"
"""The definitions of KubeRay's and Kueue's resources."""


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "docker" / name).read_text()))


def schema_of(manifest: dict[str, Any]) -> dict[str, Any]:
    group, version = manifest["apiVersion"].split("/")
    definitions = [
        yaml.load(file.read_text(), yaml.CSafeLoader)["spec"] for file in SCHEMAS.glob(f"{group}_*.yaml")
    ]
    (kind,) = (each for each in definitions if each["names"]["kind"] == manifest["kind"])
    (schema,) = (each["schema"] for each in kind["versions"] if each["name"] == version)
    return strict(schema["openAPIV3Schema"])


def strict(schema: Any) -> Any:
    """Returns the schema with all keys refused that it does not name, which Kubernetes drops in silence."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    is_closed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return inner | ({"additionalProperties": False} if is_closed else {})


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="needs the definitions of KubeRay's and Kueue's resources")
@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml", "kueue.yaml"])
def test_kubernetes_knows_every_key_of_the_manifests(name: str) -> None:
    for manifest in manifests(name):
        problems = Draft202012Validator(schema_of(manifest)).iter_errors(manifest)
        assert [f"{error.json_path}: {error.message}" for error in problems] == []


def test_a_study_as_a_job_has_the_nodes_of_the_cluster_and_kueues_queue() -> None:
    (cluster,), (job,) = manifests("raycluster.yaml"), manifests("rayjob.yaml")
    spec = job["spec"]["rayClusterSpec"]
    for group in cluster["spec"]["workerGroupSpecs"]:
        group["minReplicas"] = group["maxReplicas"] = group["replicas"]  # Kueue admits a job at one size
    assert spec == cluster["spec"]
    queued = {each["kind"]: each["metadata"]["name"] for each in manifests("kueue.yaml")}
    assert job["metadata"]["labels"] == {
        "kueue.x-k8s.io/queue-name": queued["LocalQueue"],
        "kueue.x-k8s.io/priority-class": queued["WorkloadPriorityClass"],
    }
    assert job["spec"]["shutdownAfterJobFinishes"], "Kueue takes no job that keeps its cluster"


def test_the_restarted_heads_studies_go_on() -> None:
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    resume, head = services["resume"], services["head"]
    (script,) = [word for word in resume["command"] if "tuner" in word]
    (port,) = [word.partition("=")[2] for word in head["command"] if word.startswith("--dashboard-port=")]
    assert f"tuner resume --address http://head:{port}" in script
    assert resume["environment"] == head["environment"]


def test_skypilot_has_every_variable_that_its_script_and_the_tuner_read() -> None:
    task = yaml.safe_load((ROOT / "docker/skypilot.yaml").read_text())
    given = task["envs"].keys() | task["secrets"].keys()
    read = {name for name in re.findall(r"\$(\w+)", task["run"]) if not name.startswith("SKYPILOT_")}
    assert read | {"TUNER_STORAGE", "MLFLOW_TRACKING_URI", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= given
    assert not any(task["secrets"].values()), "a secret stands in the file"
    subprocess.run(["bash", "-n"], input=task["run"], text=True, check=True)
