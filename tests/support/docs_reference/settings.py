"""``reference/settings.md``: every environment variable."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

import click

from docs_reference.commands import context, default_of, variable_of
from docs_reference.markdown import NOTE, code, prose, table
from plimsoll.cli.main import cli
from plimsoll.operator.settings import PREFIX, JobSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """# Settings

The chart sets what an installation needs; its values are in [](chart.md). Everything else can be
set with `operator.env` and `webhook.env`.
"""

#: What programs of ours and of others read, wherever they run.
COMMON = {
    "CI_SERVER_URL, CI_API_V4_URL": "Another GitLab than gitlab.com, for merge requests.",
    "COSIGN_PASSWORD": "Password of a private key that is given as a file.",
    "DOCKER_CONFIG": "Folder of docker's `config.json`, where logins to registries are read.",
    "DOCKER_HOST": "Where the Docker daemon is, for `publish --local`: `unix://PATH` or "
    "`tcp://HOST:PORT`.",
    "GH_CONFIG_DIR, XDG_CONFIG_HOME": "Where the file of `gh` is, whose token counts for GitHub.",
    "GH_TOKEN, GITHUB_TOKEN": "Token for GitHub; goes before the file of `gh` and `.netrc`.",
    "GITHUB_SERVER_URL, GITHUB_API_URL, GITHUB_GRAPHQL_URL": "Another GitHub than github.com.",
    "GITLAB_TOKEN": "Token for GitLab.",
    "HOME": "Where `.docker/config.json` and `.cache` are looked for.",
    "HTTP_AUTH": "Logins to package repositories: `basic:HOST:USER:PASSWORD`, several with blanks.",
    "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY": "Proxies; names in lower case count first.",
    "KUBECONFIG": "The cluster of `plimsoll operator` and `plimsoll webhook`. Without it: the "
    "ServiceAccount of the pod.",
    "NETRC": "File with logins to package repositories instead of `~/.netrc`.",
    "NO_COLOR": "No colours, if it is set to anything.",
    "PLIMSOLL_ALPINE_RELEASES": "A mirror of Alpine's `releases.json`, where keys are found.",
    "PLIMSOLL_CACHE_DIR": "The package cache; `--cache-dir` goes before it.",
    "PLIMSOLL_GIT_CREDENTIALS": "File or folder with logins for Git servers, for "
    "`package updates` and `bump`; `--git-credentials` goes before it.",
    "PLIMSOLL_KEY_DISCOVERY": "`off`: publishers are never asked for the keys of repositories.",
    "PLIMSOLL_MIRRORS": "Where to look first for packages: `ORIGINAL=MIRROR` URL prefixes, several "
    "with blanks.",
    "PLIMSOLL_KEY_PASSWORD": "Password of a package signing key that is given as a file.",
    "PLIMSOLL_RELEASE_MONITORING_URL": "Another release-monitoring than release-monitoring.org.",
    "REGISTRY_AUTH_FILE": "A further file with logins, as podman has it.",
    "SOURCE_DATE_EPOCH": "Creation time of images, in seconds since 1970; goes before everything "
    "else.",
    "SSL_CERT_FILE": "Certificate authorities to trust instead of the system's.",
    "XDG_CACHE_HOME": "Where the package cache is if nothing else says so: `plimsoll` below it.",
    "XDG_RUNTIME_DIR": "Where podman's `containers/auth.json` is looked for.",
    "TRANSIT_SECRET_ENGINE_PATH": "Where Vault's transit engine is mounted; `transit` by default.",
    "VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT": "Vault or OpenBao, for keys `hashivault://KEY`: "
    "address, namespace, file with certificate authorities.",
    "VAULT_ROLE, VAULT_AUTH_PATH, VAULT_JWT_FILE": "Log in there as a ServiceAccount: role, path "
    "of the method (`kubernetes` by default), file with the token.",
    "VAULT_TOKEN, VAULT_TOKEN_FILE": "Token for it, or a file with it.",
}


class _Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.asked: dict[str, None] = {}

    def get(self, key: str, default: Any = None) -> Any:
        self.asked[key] = None
        return super().get(key, default)


def render() -> str:
    """The page."""
    head = ["variable", "meaning", "default"]
    common = table(["variable", "meaning"], ([_names(n), prose(t)] for n, t in COMMON.items()))
    return "\n".join(
        [
            NOTE,
            _HEAD,
            "## Operator\n",
            table(head, operator_rows()),
            "## Webhook\n",
            "Each is an option of `plimsoll webhook` too.\n",
            table(head, _webhook_rows()),
            "## All commands\n",
            common,
        ]
    )


def _names(text: str) -> str:
    return ", ".join(code(name) for name in text.split(", "))


def operator_rows() -> Iterator[tuple[str, str, str]]:
    """Variable, meaning and default of everything that the operator asks its environment for."""
    environment = _Recorder(PLIMSOLL_IMAGE="example")
    settings = Settings.load(environment)
    described: dict[str, tuple[str, str]] = {}
    for model, values in ((Settings, settings), (JobSettings, settings.jobs)):
        for name, text in _attributes(model):
            found = re.search(rf"{PREFIX}[A-Z_]+", text)
            if found is None:
                continue
            meaning = re.sub(rf"\s*(?:\(``{found[0]}``\)|and ``{found[0]}``)", "", text)
            described[found[0]] = (meaning, _shown(getattr(values, name), name))
    described[f"{PREFIX}IMAGE"] = (described[f"{PREFIX}IMAGE"][0], "must be set")
    for variable in environment.asked:
        meaning, default = described.get(variable, ("", ""))
        sentence = meaning[:1].upper() + meaning[1:]
        yield code(variable), prose(sentence), default


def _attributes(model: type[Any]) -> Iterator[tuple[str, str]]:
    """Name and text of the attributes that a docstring describes."""
    section = (inspect.getdoc(model) or "").partition("Attributes:\n")[2]
    names = {field.name for field in dataclasses.fields(model)}
    for entry in re.split(r"\n(?=    \w)", "\n" + section):
        name, _, text = entry.strip().partition(":")
        if name in names:
            yield name, " ".join(text.split())


def _shown(value: object, name: str) -> str:
    if name == "builder_id":
        return code("default")
    if value in {(), ""}:
        return ""
    return code(f"{value:g}" if isinstance(value, float) else str(value))


def _webhook_rows() -> Iterator[tuple[str, str, str]]:
    root = click.Context(cli, info_name="plimsoll")
    command = cli.get_command(root, "webhook")
    assert command is not None
    ctx = context(command, "webhook", root)
    for option in command.params:
        if isinstance(option, click.Option) and (variable := variable_of(option, ctx)):
            meaning = f"{prose(option.help or '')} Option {code(option.opts[0])}."
            yield variable, meaning, default_of(option, ctx)
