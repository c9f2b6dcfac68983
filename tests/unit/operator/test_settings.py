import pytest

from plimsoll.operator.settings import Settings, SettingsError


def test_defaults():
    settings = Settings.load({"PLIMSOLL_IMAGE": "i"})
    assert settings.namespaces == ()
    assert settings.port == 8080
    assert settings.jobs.pull_policy == "IfNotPresent"
    assert settings.jobs.builder_id.startswith("https://plimsoll.dev/operator/v")
    assert settings.jobs.builder_id.endswith("/default")


def test_everything():
    settings = Settings.load(
        {
            "PLIMSOLL_IMAGE": "i",
            "PLIMSOLL_NAMESPACES": "a, b",
            "PLIMSOLL_INSECURE_REGISTRIES": "one:5000,two:5000",
            "PLIMSOLL_CLUSTER_NAME": "prod",
            "PLIMSOLL_IMAGE_PULL_SECRETS": "x",
            "PLIMSOLL_WORKERS": "9",
            "PLIMSOLL_LOG_LEVEL": "DEBUG",
        }
    )
    assert settings.namespaces == ("a", "b")
    assert settings.jobs.insecure_registries == ("one:5000", "two:5000")
    assert settings.jobs.builder_id.endswith("/prod")
    assert settings.jobs.pull_secrets == ("x",)
    assert settings.workers == 9
    assert settings.log_level == "debug"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PLIMSOLL_IMAGE": " "},
        {"PLIMSOLL_IMAGE": "i", "PLIMSOLL_HTTP_PORT": "http"},
        {"PLIMSOLL_IMAGE": "i", "PLIMSOLL_WORKERS": "0"},
        {"PLIMSOLL_IMAGE": "i", "PLIMSOLL_LOG_LEVEL": "loud"},
    ],
)
def test_what_is_wrong_is_named(environment):
    with pytest.raises(SettingsError, match=r"PLIMSOLL_\w+"):
        Settings.load(environment)
