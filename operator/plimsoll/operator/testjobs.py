"""Jobs that run an image before any tag names it. Pure.

What runs is code of packages: it gets no token, no Secret, no network, and nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.operator import podspec
from plimsoll.operator.jobs import about
from plimsoll.operator.lanes import lane_of
from plimsoll.operator.variants import tests_of

if TYPE_CHECKING:
    from plimsoll.api.accounts import Accounts
    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build
    from plimsoll.api.variantspec import ImageTest
    from plimsoll.operator.lanes import Task
    from plimsoll.operator.podspec import Manifest
    from plimsoll.operator.settings import JobSettings


def test_job(
    desired: ImageBuild, build: Build, task: Task, accounts: Accounts, settings: JobSettings
) -> Manifest:
    """The Job that runs all tests of one image on one architecture, one after the other.

    Args:
        desired: the object.
        build: with the image as it was assembled.
        task: which image.
        accounts: of its configuration: it runs as the user that it says.
        settings: how Jobs run.
    """
    if task.arch is None:
        raise ValueError("a test is for an architecture")
    spec, arch = desired.spec, task.arch.oci
    (digest,) = [one.digest for one in lane_of(build, task.variant).assembled if one.arch == arch]
    image = f"{build.inputs.output}@{digest}"
    tests = tests_of(spec, task.variant, task.arch)
    containers = [_container(desired, number, image, test) for number, test in enumerate(tests)]
    push = spec.output.push_secret
    pod = podspec.pod(
        containers[-1:],
        [],
        spec.job,
        settings,
        account=settings.build_account,
        user=None,
        non_root=_is_not_root(accounts),
        group=False,
        pull_secrets=[push.name] if push is not None else [],
        node_selector={"kubernetes.io/arch": podspec.node_arch(arch)},
    )
    if containers[:-1]:
        # Two servers of two tests cannot have the same port at the same time.
        pod["initContainers"] = containers[:-1]
    podspec.without_names(pod)
    seconds = podspec.seconds_of(spec.job)
    return podspec.job(about(desired, build, task), pod, seconds=seconds, retries=0)


def _container(desired: ImageBuild, number: int, image: str, test: ImageTest) -> Manifest:
    resources = desired.spec.job.resources
    made = podspec.container(f"test-{number}", image, resources=resources, read_only_root=False)
    if test.command is not None:
        made["command"] = [_literal(word) for word in test.command]
    if test.args is not None:
        made["args"] = [_literal(word) for word in test.args]
    if test.environment:
        made["env"] = [
            {"name": name, "value": _literal(value)}
            for name, value in sorted(test.environment.items())
        ]
    return made


def _is_not_root(accounts: Accounts) -> bool:
    """Whether that is known; a name may be of a user that a package brings."""
    name = accounts.run_as.partition(":")[0]
    if any(user.username == name for user in accounts.users):
        return True
    return name.isdigit() and int(name) != 0


def _literal(text: str) -> str:
    """Kubernetes would put variables in place of ``$(NAME)``."""
    return text.replace("$(", "$$(")
