"""What is not known to be harmless is withheld; what is known to be stays readable."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from kubeharden import runbook
from kubeharden.edges.cluster.client import Client
from kubeharden.facts import FileFact, NodeFacts, ServiceFacts
from kubeharden.facts.harmless import HARMLESS_TYPES, harmless_flags
from kubeharden.facts.sensitive import (
    secrets_in,
    secrets_on,
    sensitive_command,
    sensitive_file,
    with_sensitive_files,
)
from kubeharden.kube.resources import RESOURCES
from kubeharden.plan import FileChange, sha256
from kubeharden.plan.own_words import own_words
from kubeharden.podsecurity.admission_config import render_config, with_defaults_set
from kubeharden.redaction import Redactor, Sensitive, mask
from kubeharden.releases import Release, known_components, known_types
from kubeharden.show.display import Diff, View
from kubeharden_rehearsal import Rehearsal, available
from rehearsals import Rehearsals

UNIT = "/etc/systemd/system/kubelet.service"


def node(unit: str, cmdline: str = "", configz: dict | None = None, **others: str) -> NodeFacts:
    """A node whose kubelet has this unit, this command line and these other files, as the parser marks them."""
    contents = {UNIT: unit, **others}
    service = ServiceFacts(
        "kubelet",
        show={"LoadState": "loaded", "FragmentPath": UNIT},
        files={path: FileFact(path, "644", "root", "root", text) for path, text in contents.items()},
        cmdline=tuple(cmdline.split()),
        version="v1.20.2",
        configz=configz,
    )
    return NodeFacts("k8s-node1", False, services={"kubelet": with_sensitive_files(service)})


def content(of: NodeFacts, path: str) -> str:
    return of.services["kubelet"].files[path].content


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
    redactor.withhold(secrets_on(node(f"[Service]\nExecStart={line}\n", line)))
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
    redactor.withhold(secrets_on(node(text)))
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
    seen = node("[Service]\nExecStart=/usr/bin/kubelet $KUBELET_ARGS\n", **{"/etc/default/kubelet": text})
    redactor.withhold(secrets_on(seen))
    shown = redactor.redact(content(seen, "/etc/default/kubelet"))
    assert "KUBELET_ARGS=--max-pods=60 --made-up=‹redacted" in shown
    for secret in ("planted-1", "4711", "planted two"):
        assert secret not in shown
    for plain in ("ExecStart=/usr/bin/kubelet $KUBELET_ARGS", "NUMBER=4712"):
        assert redactor.redact(plain) == plain
    # A variable's value is taken out of other texts as well, where it is a word of its own.
    assert redactor.redact("the pin is 4711.") == f"the pin is {redactor.redact('PIN=4711')[4:]}."
    assert redactor.redact("47110 pods at 10.0.0.1:4711") == "47110 pods at 10.0.0.1:4711"


def test_config_files_show_the_fields_that_are_known(redactor: Redactor) -> None:
    config = {
        "kind": "KubeletConfiguration",
        "clusterDomain": "cluster.example",
        "evictionHard": {"memory.available": "100Mi"},
        "staticPodURLHeader": {"Authorization": ["planted-header-1"]},
        "inventedField": "planted-field-2",
    }
    text = yaml.safe_dump(config)
    seen = node("[Service]\nExecStart=/usr/bin/kubelet\n", **{"/etc/kubernetes/kubelet.conf": text})
    redactor.withhold(secrets_on(seen))
    shown = redactor.redact(text)
    assert "planted" not in shown
    assert "cluster.example" in shown
    assert "memory.available: 100Mi" in shown
    # Some components serve their configuration by the names that the fields have in Go.
    served = {"ClusterDomain": "other.example", "InventedField": "planted-field-3"}
    redactor.withhold(secrets_on(node("", configz=served)))
    assert redactor.redact("other.example planted-field-3").startswith("other.example ‹redacted")


def test_a_name_that_was_read_in_one_file_withholds_nothing_in_another(redactor: Redactor) -> None:
    config = "/etc/kubernetes/kubelet.conf"
    text = "kind: KubeletConfiguration\nlevel: privileged\nauditors:\n- name: ops\n"
    seen = node("[Service]\nEnvironment=LEVEL=two\nExecStart=/k\n", **{config: text})
    redactor.withhold(secrets_on(seen))
    assert redactor.redact(content(seen, config)) == text.replace(
        "privileged", redactor.redact("token=privileged")[6:]
    )
    assert redactor.redact(text) == text
    elsewhere = "level: privileged\nLEVEL=four --level=privileged"
    assert redactor.redact(elsewhere) == elsewhere
    other = sensitive_file("kubelet", "LEVEL=three\n")
    assert redactor.redact_data({"level": "privileged", "other": [elsewhere, other]})["level"] == "privileged"
    assert redactor.redact_data({"other": [elsewhere, other]})["other"][0] == elsewhere
    assert redactor.redact_data([other])[0].startswith("LEVEL=‹redacted")


def test_what_is_made_of_a_file_withholds_what_the_file_does(redactor: Redactor) -> None:
    seen = node("[Service]\nX-Pin=4711\nExecStart=/usr/bin/kubelet --made-up hunter --v=2\n")
    before = seen.services["kubelet"].files[UNIT]
    after = "[Service]\nX-Pin=4711\nExecStart=/usr/bin/kubelet --made-up hunter --config=/etc/k\n"
    change = FileChange(UNIT, before, after, "644", "root", "root")
    assert (change.after, change.after_digest, change.before_digest) == (
        after,
        sha256(after),
        sha256(before.content),
    )
    for shown in (
        redactor.redact(change.diff),
        redactor.redact(change.after),
        str(View([Diff(UNIT, change.diff)])),
    ):
        assert "hunter" not in shown
        assert "4711" not in shown
        assert "--config=/etc/k" in shown
    command = sensitive_command("kubelet", ["/usr/bin/kubelet", "--made-up", "hunter", "--v", "2"])
    assert redactor.redact(command).split("\n")[2].startswith("‹redacted")
    assert redactor.redact(command).split("\n")[4] == "2"
    assert mask(command) == "/usr/bin/kubelet\n--made-up\n‹redacted›\n--v\n2"
    assert not {"hunter", "4711"} & set(re.split(r"\W+", mask(change.diff)))


def test_a_sensitive_text_is_that_text_and_carries_its_secrets(redactor: Redactor) -> None:
    text = "PIN=4711\nNOTE='planted two words'\n"
    found = sensitive_file("kubelet", text)
    assert (found, hash(found), found.encode(), json.dumps(found)) == (
        text,
        hash(text),
        text.encode(),
        json.dumps(text),
    )
    copied = copy.deepcopy(found)
    assert isinstance(copied, Sensitive)
    assert copied.secrets == found.secrets
    assert "4711" not in repr(FileFact("/p", "644", "root", "root", found))
    assert "4711" not in redactor.redact(found)
    assert "planted" not in redactor.redact("error: planted two words"), "its redactor has seen it by now"


def test_what_kubeharden_writes_is_never_withheld() -> None:
    redactor = Redactor(harmless_flags(), own_words())
    unit = (
        "[Service]\nEnvironment=A=Webhook B=PodSecurityPolicy C=rbac.authorization.k8s.io/v1 D=Zz9planted\n"
    )
    redactor.withhold(secrets_on(node(unit)))
    written = (
        "authorization: Webhook\nPodSecurityPolicy x\napiVersion: rbac.authorization.k8s.io/v1\nVersionTLS12"
    )
    assert redactor.redact(written) == written
    assert "Zz9planted" not in redactor.redact("Zz9planted")


@pytest.mark.parametrize("minor", [23, 25, 36])
def test_the_admission_configuration_that_kubeharden_writes_holds_no_secret(
    minor: int, redactor: Redactor
) -> None:
    wanted = {"enforce": "baseline", "audit": "restricted", "warn": "restricted"}
    found = sensitive_file(
        "kube-apiserver", render_config(with_defaults_set(Release(1, minor), None, wanted, f"v1.{minor}"))
    )
    assert redactor.redact(found) == found
    assert "pod-security.admission.config.k8s.io" in found
    other = sensitive_file(
        "kube-apiserver", "kind: AdmissionConfiguration\nplugins:\n- configuration: {key: Zz9planted}\n"
    )
    assert "Zz9planted" not in redactor.redact(other)


def test_of_flags_in_any_text_only_those_that_are_known_keep_their_values() -> None:
    redactor = Redactor(harmless_flags())
    line = 'FLAG: --made-up="planted-1 two" --max-pods="60" --oidc-client-id=planted-2 --v=2 --storage-driver-password='
    assert "planted" not in redactor.redact(line)
    assert '--max-pods="60"' in redactor.redact(line)
    assert redactor.redact(line).endswith("--v=2 --storage-driver-password=")


def test_a_value_that_is_harmless_elsewhere_does_not_tear_words_apart(redactor: Redactor) -> None:
    unit = "[Unit]\nAfter=docker.service containerd.service\n[Service]\nEnvironment=A=containerd.service\n"
    redactor.withhold(secrets_on(node(unit)))
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
    redactor.withhold(secrets_in({"pods": (pod,), "secrets": (secret,)}))
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


def test_no_secret_is_ever_read(article: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no such resource for the client, and no run asks for one."""
    asked: list[str] = []
    text = Client.text

    def listening(client: Client, path: str, *rest: object, **named: object) -> str:
        asked.append(path)
        return text(client, path, *rest, **named)

    monkeypatch.setattr(Client, "text", listening)
    places = {"inventory": str(article.inventory), "output_dir": str(tmp_path / "records")}
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


@pytest.mark.parametrize(
    ("applied", "stays"),
    [
        ('{"kind":"Namespace","metadata":{"annotations":{},"name":"shop"}}\n', True),
        ('{"kind":"Namespace","metadata":{"name":"a \\u003c b"}}', True),
        ('{"kind":"Secret","data":{"a":"cGxhbnRlZC0x"}}', False),
        ('{"kind":"Secret","data":{"a":"cGxhbnRlZC0x"},"data":{}}', False),
        ('{"kind":"Secret","data":{"a":"cGxhbnRlZC0x"}', False),
    ],
)
def test_what_kubectl_has_applied_stays_to_the_byte_where_no_secret_is_in_it(
    redactor: Redactor, applied: str, stays: bool
) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    shown = redactor.redact_data({"metadata": {"annotations": annotations}})["metadata"]["annotations"]
    assert (shown == annotations) == stays
    assert "cGxhbnRlZC0" not in str(shown)


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


@pytest.mark.sample(2)
@pytest.mark.parametrize("scenario", available())
def test_nothing_of_a_cluster_without_secrets_is_withheld(
    scenario: str, rehearsals: Rehearsals, tmp_path: Path
) -> None:
    inventory = str(rehearsals.untouched(scenario).inventory)
    given = {"inventory": inventory, "output_dir": str(tmp_path / "records"), "mode": "plan"}
    run = runbook.start({"In": [""], **given})
    shown = f"{run.look()}{run.plan()}{''.join(str(run.show(step)) for step in run.parameters.steps)}{run.finish()}"
    assert "--cgroup-driver" in shown
    assert "‹redacted" not in shown
    for path in run.record.folder.rglob("*.json*"):
        assert "‹redacted" not in path.read_text()
