"""The client of demo and tests, against the real API server."""

from contextlib import aclosing

import pytest

from deploy.devcluster.api import Api, ApiError, WaitError
from deploy.devcluster.controlplane import ControlPlane

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def test_objects_are_created_changed_listed_and_deleted(control_plane: ControlPlane) -> None:
    async with Api(control_plane) as api:
        await api.create(CONFIGMAPS, {"metadata": {"name": "one"}, "data": {"a": "1"}})
        changed = await api.patch(f"{CONFIGMAPS}/one", {"data": {"b": "2"}})
        assert changed["data"] == {"a": "1", "b": "2"}
        replaced = await api.replace(f"{CONFIGMAPS}/one", {"metadata": {"name": "one"}})
        assert "data" not in replaced
        assert "one" in {item["metadata"]["name"] for item in await api.items(CONFIGMAPS)}
        await api.delete(f"{CONFIGMAPS}/one")
        await api.delete(f"{CONFIGMAPS}/one")
        assert await api.get(f"{CONFIGMAPS}/one") is None


async def test_a_refusal_tells_code_and_reason(control_plane: ControlPlane) -> None:
    async with Api(control_plane) as api:
        with pytest.raises(ApiError, match=r"422: .*Invalid value"):
            await api.create(CONFIGMAPS, {"metadata": {"name": "Not_A_Name"}})


async def test_waiting_in_vain_tells_what_was_there(control_plane: ControlPlane) -> None:
    async with Api(control_plane) as api:
        with pytest.raises(WaitError, match=r"it exists; .*/nothing is not there"):
            await api.wait(
                f"{CONFIGMAPS}/nothing", lambda found: found is not None, "it exists", timeout_s=0.1
            )


async def test_what_is_written_to_a_list_is_followed_from_a_version_on(
    control_plane: ControlPlane,
) -> None:
    async with Api(control_plane) as api:
        version = await api.version(CONFIGMAPS)
        await api.create(CONFIGMAPS, {"metadata": {"name": "followed"}})
        await api.delete(f"{CONFIGMAPS}/followed")
        seen = []
        async with aclosing(api.follow(CONFIGMAPS, version)) as objects:
            async for found in objects:
                seen += [n for n in (found["metadata"]["name"],) if n == "followed"]
                if len(seen) == 2:
                    break
        assert seen == ["followed", "followed"]
