"""The calls of CRI that edged makes: what each takes and gives, and how long it may last.

The deadlines are kubelet's for a busy machine, with longer ones where an engine waits for others
(a network plugin, a registry); the reasons are the words that kubelet shows in a pod's status.

Source: Kubernetes staging/src/k8s.io/cri-client/pkg/remote_runtime.go and
pkg/kubelet/container/sync_result.go, pkg/kubelet/images/types.go.
"""

from typing import Final, Generic, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

from edgecore.edged.runtime.cri import containerd_pb2, cri_pb2

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

_RUNTIME: Final = "/runtime.v1.RuntimeService/"
_IMAGES: Final = "/runtime.v1.ImageService/"

_QUICK_S: Final = 5.0
_LOOK_S: Final = 30.0
_WORK_S: Final = 120.0
_SANDBOX_S: Final = 240.0

UNAVAILABLE: Final = "RuntimeUnavailable"
"""Reason of an error that says: there is no engine at the endpoint, or it is starting."""


class Method(Struct, Generic[Request, Response], frozen=True):
    """One call of the engine."""

    path: str
    request: type[Request]
    response: type[Response]
    reason: str
    """What an error of it is called in a pod's status."""
    timeout_s: float | None = _WORK_S
    """How long it may last; None for as long as it takes."""


VERSION: Final = Method(
    f"{_RUNTIME}Version",
    cri_pb2.VersionRequest,
    cri_pb2.VersionResponse,
    "RuntimeVersionError",
    _QUICK_S,
)
STATUS: Final = Method(
    f"{_RUNTIME}Status",
    cri_pb2.StatusRequest,
    cri_pb2.StatusResponse,
    "RuntimeStatusError",
    _QUICK_S,
)
RUN_SANDBOX: Final = Method(
    f"{_RUNTIME}RunPodSandbox",
    cri_pb2.RunPodSandboxRequest,
    cri_pb2.RunPodSandboxResponse,
    "CreatePodSandboxError",
    _SANDBOX_S,
)
STOP_SANDBOX: Final = Method(
    f"{_RUNTIME}StopPodSandbox",
    cri_pb2.StopPodSandboxRequest,
    cri_pb2.StopPodSandboxResponse,
    "KillPodSandboxError",
    _SANDBOX_S,
)
REMOVE_SANDBOX: Final = Method(
    f"{_RUNTIME}RemovePodSandbox",
    cri_pb2.RemovePodSandboxRequest,
    cri_pb2.RemovePodSandboxResponse,
    "RemovePodSandboxError",
    _SANDBOX_S,
)
SANDBOX_STATUS: Final = Method(
    f"{_RUNTIME}PodSandboxStatus",
    cri_pb2.PodSandboxStatusRequest,
    cri_pb2.PodSandboxStatusResponse,
    "PodSandboxStatusError",
    _LOOK_S,
)
LIST_SANDBOXES: Final = Method(
    f"{_RUNTIME}ListPodSandbox",
    cri_pb2.ListPodSandboxRequest,
    cri_pb2.ListPodSandboxResponse,
    "ListPodSandboxError",
    _LOOK_S,
)
CREATE_CONTAINER: Final = Method(
    f"{_RUNTIME}CreateContainer",
    cri_pb2.CreateContainerRequest,
    cri_pb2.CreateContainerResponse,
    "CreateContainerError",
)
START_CONTAINER: Final = Method(
    f"{_RUNTIME}StartContainer",
    cri_pb2.StartContainerRequest,
    cri_pb2.StartContainerResponse,
    "RunContainerError",
)
STOP_CONTAINER: Final = Method(
    f"{_RUNTIME}StopContainer",
    cri_pb2.StopContainerRequest,
    cri_pb2.StopContainerResponse,
    "KillContainerError",
)
REMOVE_CONTAINER: Final = Method(
    f"{_RUNTIME}RemoveContainer",
    cri_pb2.RemoveContainerRequest,
    cri_pb2.RemoveContainerResponse,
    "RemoveContainerError",
)
LIST_CONTAINERS: Final = Method(
    f"{_RUNTIME}ListContainers",
    cri_pb2.ListContainersRequest,
    cri_pb2.ListContainersResponse,
    "ListContainersError",
    _LOOK_S,
)
CONTAINER_STATUS: Final = Method(
    f"{_RUNTIME}ContainerStatus",
    cri_pb2.ContainerStatusRequest,
    cri_pb2.ContainerStatusResponse,
    "ContainerStatusError",
    _LOOK_S,
)
REOPEN_LOG: Final = Method(
    f"{_RUNTIME}ReopenContainerLog",
    cri_pb2.ReopenContainerLogRequest,
    cri_pb2.ReopenContainerLogResponse,
    "ReopenContainerLogError",
    _LOOK_S,
)
EXEC_SYNC: Final = Method(
    f"{_RUNTIME}ExecSync",
    cri_pb2.ExecSyncRequest,
    cri_pb2.ExecSyncResponse,
    "ExecError",
)
LIST_STATS: Final = Method(
    f"{_RUNTIME}ListContainerStats",
    cri_pb2.ListContainerStatsRequest,
    cri_pb2.ListContainerStatsResponse,
    "ContainerStatsError",
    _LOOK_S,
)
CONTAINER_EVENTS: Final = Method(
    f"{_RUNTIME}GetContainerEvents",
    cri_pb2.GetEventsRequest,
    cri_pb2.ContainerEventResponse,
    "ContainerEventsError",
    None,
)
LIST_IMAGES: Final = Method(
    f"{_IMAGES}ListImages",
    cri_pb2.ListImagesRequest,
    cri_pb2.ListImagesResponse,
    "ListImagesError",
    _LOOK_S,
)
IMAGE_STATUS: Final = Method(
    f"{_IMAGES}ImageStatus",
    cri_pb2.ImageStatusRequest,
    cri_pb2.ImageStatusResponse,
    "ImageInspectError",
    _LOOK_S,
)
PULL_IMAGE: Final = Method(
    f"{_IMAGES}PullImage",
    cri_pb2.PullImageRequest,
    cri_pb2.PullImageResponse,
    "ErrImagePull",
    None,
)
REMOVE_IMAGE: Final = Method(
    f"{_IMAGES}RemoveImage",
    cri_pb2.RemoveImageRequest,
    cri_pb2.RemoveImageResponse,
    "RemoveImageError",
)
IMAGE_FS_INFO: Final = Method(
    f"{_IMAGES}ImageFsInfo",
    cri_pb2.ImageFsInfoRequest,
    cri_pb2.ImageFsInfoResponse,
    "ImageFsInfoError",
    _LOOK_S,
)
CONTAINERD_EVENTS: Final = Method(
    "/containerd.services.events.v1.Events/Subscribe",
    containerd_pb2.SubscribeRequest,
    containerd_pb2.Envelope,
    "ContainerdEventsError",
    None,
)
