"""What is not known to be harmless is withheld; what is known to be stays readable."""

from __future__ import annotations

import base64
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from kubeharden import runbook
from kubeharden.edges.cluster.client import Client
from kubeharden.facts import FileFact, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import HARMLESS_TYPES, Withheld, harmless_flags, withheld_in, withheld_on
from kubeharden.kube.resources import RESOURCES
from kubeharden.redaction import Redactor
from kubeharden.releases import known_components, known_types
from kubeharden_rehearsal import available

UNIT = "/etc/systemd/system/kubelet.service"


def node(unit: str, cmdline: str = "", configz: dict | None = None, **others: str) -> NodeFacts:
    """A node whose kubelet has this unit, this command line and these other files."""
    contents = {UNIT: unit, **others}
    service = ServiceFacts(
        "kubelet",
        show={"LoadState": "loaded", "FragmentPath": UNIT},
        files={path: FileFact(path, "644", "root", "root", text) for path, text in contents.items()},
        cmdline=tuple(cmdline.split()),
        version="v1.20.2",
        configz=configz,
    )
    return NodeFacts("k8s-node1", False, services={"kubelet": service})


def close(redactor: Redactor, found: Withheld) -> None:
    redactor.withhold(found.values, found.names, found.harmless)


@pytest.mark.parametrize("component", [row.name for row in known_components() if row.config])
def test_every_flag_and_field_of_text_has_been_judged(component: str) -> None:
    raw = yaml.safe_load((files("kubeharden.facts") / "harmless.yaml").read_text())
    for key, known in zip(("flags", "fields"), known_types(component), strict=True):
        shown, withheld = (set(raw[key][component][word].split()) for word in ("shown", "withheld"))
        assert not shown & withheld
        assert shown | withheld <= set(known), "names that no release has"
        of_text = {name for name, kind in known.items() if not HARMLESS_TYPES.fullmatch(kind)}
        assert of_text <= shown | withheld


def test_flags_that_are_known_stay_and_others_go(redactor: Redactor) -> None:
    line = (
        "/usr/bin/kubelet --hostname-override=worker-7.example --node-labels=rack=b12-x --v=2 "
        "--storage-driver-password=h --manifest-url=http://web/x?k=Zz9planted --made-up planted-value-1 --max-pods=60"
    )
    close(redactor, withheld_on(node(f"[Service]\nExecStart={line}\n", line)))
    shown = redactor.redact(line)
    for harmless in (
        "worker-7.example",
        "rack=b12-x",
        "--v=2",
        "--max-pods=60",
        "--storage-driver-password=‹",
    ):
        assert harmless in shown
    for secret in ("Zz9planted", "planted-value-1", "password=h "):
        assert secret not in shown
    assert "planted-value-1" not in redactor.redact("kubelet: cannot use planted-value-1: no such thing")


@pytest.mark.parametrize(
    "unit",
    [
        'Environment="A=two planted words-1" B=planted-b2\nExecStart=/usr/bin/kubelet',
        "X-Note=two planted words-1 planted-b2\nExecStart=/usr/bin/kubelet",
        "# the key is planted-b2 (two planted-words-1)\nExecStart=/usr/bin/kubelet",
        "ExecStartPre=/usr/bin/curl -H 'two planted words-1' planted-b2\nExecStart=/usr/bin/kubelet",
        "ExecStart=/bin/sh -c 'exec /usr/bin/kubelet --x planted-b2 --max-pods=60'",
    ],
)
def test_units_keep_nothing_that_is_not_known(redactor: Redactor, unit: str) -> None:
    text = f"[Unit]\nDescription=Kubelet of rack b12\n[Service]\n{unit}\nRestart=always\n"
    close(redactor, withheld_on(node(text)))
    shown = redactor.redact(text)
    assert "planted-b2" not in shown
    assert "words-1" not in shown
    assert "Description=Kubelet of rack b12" in shown
    assert "Restart=always" in shown
    assert "/usr/bin/kubelet" in shown or "/usr/bin/curl" in shown


def test_environment_files_show_flags_and_no_values(redactor: Redactor) -> None:
    text = (
        "# made by hand\nKUBELET_ARGS=--max-pods=60 --made-up=planted-1\nPIN=4711\nNOTE='planted two words'\n"
    )
    close(
        redactor,
        withheld_on(
            node("[Service]\nExecStart=/usr/bin/kubelet $KUBELET_ARGS\n", **{"/etc/default/kubelet": text})
        ),
    )
    shown = redactor.redact(text)
    assert "KUBELET_ARGS=--max-pods=60 --made-up=‹redacted" in shown
    for secret in ("planted-1", "4711", "planted two"):
        assert secret not in shown
    assert (
        redactor.redact("ExecStart=/usr/bin/kubelet $KUBELET_ARGS")
        == "ExecStart=/usr/bin/kubelet $KUBELET_ARGS"
    )
    assert (
        redactor.redact("4711 pods") == "4711 pods"
    )  # a number is taken out only where it is the variable's value


def test_config_files_show_the_fields_that_are_known(redactor: Redactor) -> None:
    config = {
        "kind": "KubeletConfiguration",
        "clusterDomain": "cluster.example",
        "evictionHard": {"memory.available": "100Mi"},
        "staticPodURLHeader": {"Authorization": ["planted-header-1"]},
        "inventedField": "planted-field-2",
    }
    text = yaml.safe_dump(config)
    found = withheld_on(
        node("[Service]\nExecStart=/usr/bin/kubelet\n", **{"/etc/kubernetes/kubelet.conf": text})
    )
    close(redactor, found)
    shown = redactor.redact(text)
    assert "planted" not in shown
    assert "cluster.example" in shown
    assert "memory.available: 100Mi" in shown
    # Some components serve their configuration by the names that the fields have in Go.
    close(
        redactor,
        withheld_on(node("", configz={"ClusterDomain": "other.example", "InventedField": "planted-field-3"})),
    )
    assert redactor.redact("other.example planted-field-3").startswith("other.example ‹redacted")


def test_of_flags_in_any_text_only_those_that_are_known_keep_their_values() -> None:
    redactor = Redactor(harmless_flags())
    line = 'FLAG: --made-up="planted-1 two" --max-pods="60" --oidc-client-id=planted-2 --v=2 --storage-driver-password='
    assert "planted" not in redactor.redact(line)
    assert '--max-pods="60"' in redactor.redact(line)
    assert redactor.redact(line).endswith("--v=2 --storage-driver-password=")


def test_a_value_that_is_harmless_elsewhere_does_not_tear_words_apart(redactor: Redactor) -> None:
    unit = "[Unit]\nAfter=docker.service containerd.service\n[Service]\nEnvironment=A=containerd.service\n"
    close(redactor, withheld_on(node(unit)))
    shown = redactor.redact(unit)
    assert "After=docker.service containerd.service" in shown
    assert "Environment=A=‹redacted" in shown


def test_what_objects_hold_in_variables_and_secrets_is_withheld(redactor: Redactor) -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "planted-env-1"}]}]},
    }
    secret = {"kind": "Secret", "metadata": {"name": "web-tls"}, "data": {"any": "cGxhbnRlZC0y"}}
    close(redactor, withheld_in({"pods": (pod,), "secrets": (secret,)}))
    assert "planted-env-1" not in redactor.redact(str(pod))
    assert "web-1" in redactor.redact(str(pod))
    assert "cGxhbnRlZC0y" not in redactor.redact("error: cGxhbnRlZC0y")
    assert redactor.redact("error: cannot parse planted-2!").startswith("error: cannot parse ‹")


@pytest.mark.parametrize(
    "show",
    [Redactor.redact_data, lambda _, secret: str(secret), lambda _, secret: yaml.safe_dump(secret)],
    ids=["data", "text", "YAML"],
)
def test_what_a_secret_that_was_shown_says_is_withheld_wherever_it_was_copied(
    redactor: Redactor,
    show: Callable[[Redactor, dict], object],
) -> None:
    data = {"password": "planted 2!", "namespace": "kube-system", "short": "two"}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    before = "in kube-system: cannot use planted 2! as it is, nor two of them"
    assert redactor.redact(before) == before
    shown = show(redactor, {"kind": "Secret", "metadata": {"name": "web"}, "data": encoded})
    assert "planted 2!" not in redactor.redact(str(shown))
    after = redactor.redact(before)
    assert "planted" not in after
    assert after.startswith("in kube-system: cannot use ‹redacted")
    assert after.endswith("› as it is, nor two of them")
    assert encoded["password"] not in redactor.redact(f"it is {encoded['password']}")


def test_no_secret_is_ever_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no such resource for the client, and no run asks for one."""
    asked: list[str] = []
    text = Client.text

    def listening(client: Client, path: str, *rest: object, **named: object) -> str:
        asked.append(path)
        return text(client, path, *rest, **named)

    monkeypatch.setattr(Client, "text", listening)
    places = {"rehearsal_dir": str(tmp_path / "rehearsal"), "output_dir": str(tmp_path / "records")}
    run = runbook.start({"In": [""], **places})
    run.check()
    run.look()
    run.plan()
    for step in run.parameters.steps:
        run.apply(step)
    run.prove()
    run.finish()
    assert any(path.endswith("/pods") for path in asked)
    assert not [path for path in asked if "secrets" in path]
    assert "Secret" not in RESOURCES


def test_secret_objects_are_known_in_data_and_in_text(redactor: Redactor) -> None:
    secret = {
        "kind": "Secret",
        "metadata": {
            "name": "tls",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": '{"kind": "Secret", "data": {"a": "cGxhbnRlZC0x"}}'
            },
        },
        "data": {"tls.crt": "cGxhbnRlZC0x", "b": "cGxhbnRlZC0y"},
        "stringData": {"c": "planted three"},
    }
    for shown in (
        str(redactor.redact_data(secret)),
        str(
            redactor.redact_data(
                {"kind": "SecretList", "items": [{k: v for k, v in secret.items() if k != "kind"}]}
            )
        ),
        redactor.redact(str({**secret, "metadata": {"name": "tls"}})),
        redactor.redact(yaml.safe_dump({**secret, "metadata": {"name": "tls"}})),
    ):
        assert "cGxhbnRlZC0" not in shown
        assert "planted three" not in shown
        assert "tls" in shown


@pytest.mark.parametrize("scenario", available())
def test_nothing_of_a_cluster_without_secrets_is_withheld(scenario: str, tmp_path: Path) -> None:
    places = {"rehearsal_dir": str(tmp_path / "rehearsal"), "output_dir": str(tmp_path / "records")}
    run = runbook.start({"In": [""], "rehearsal": scenario, "mode": "plan", **places})
    shown = f"{run.look()}{run.plan()}{''.join(str(run.show(step)) for step in run.parameters.steps)}{run.finish()}"
    assert "--cgroup-driver" in shown
    assert "‹redacted" not in shown
    for path in run.record.folder.rglob("*.json*"):
        assert "‹redacted" not in path.read_text()
