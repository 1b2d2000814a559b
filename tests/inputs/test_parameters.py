"""Parameters: each wrong one is refused with its name, its value and what is expected."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sampling
from kubeharden.errors import ParameterError
from kubeharden.inputs.parameters import Parameters, assigned_names, check_dns_ip, read_parameters
from kubeharden.plan.steps import names

REHEARSALS = ("article-1.10", "containerd-1.24")


def read(cells: tuple[str, ...] = (), **values: object) -> Parameters:
    namespace: dict[str, object] = {}
    for cell in cells:
        if not cell.startswith("%"):
            exec(cell, namespace)
    namespace |= {"In": ["", *cells], **values}
    return read_parameters(Parameters, namespace, rehearsals=REHEARSALS, steps=names())


def test_defaults_are_all_steps_in_the_order_of_the_article() -> None:
    assert read(steps=[]).steps == ("kubelet", "pod-security", "kube-proxy", "kube-scheduler")


def test_the_order_of_steps_is_fixed() -> None:
    assert read(steps=["kube-proxy", "kubelet"]).steps == ("kubelet", "kube-proxy")


@pytest.mark.parametrize(
    "steps", ["kubelet,kube-proxy", "[kubelet, kube-proxy]", '["kubelet", "kube-proxy"]']
)
def test_steps_as_papermill_passes_them_on_the_command_line(steps: str) -> None:
    assert read(steps=steps).steps == ("kubelet", "kube-proxy")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("dns_ip", "10.0.0.300", "not an IP address; expected one like 10.0.0.10"),
        ("dns_ip", "kube-dns", "not an IP address"),
        ("dns_ip", 10, "type int; expected text"),
        ("dns_ip", True, "type bool; expected text"),
        ("dns_ip", None, "type NoneType; expected text"),
        ("cluster_cidr", "10.32.0.1/16", "host bits set; expected the network itself, 10.32.0.0/16"),
        ("cluster_cidr", "10.32.0.0", "no prefix length"),
        ("cluster_cidr", "ten/8", "not a CIDR"),
        ("cluster_cidr", "10.32.0.0/255.255.0.0", "no prefix length; expected one like 10.32.0.0/16"),
        ("dns_ip", "fe80::1%eth0", "has a zone"),
        ("pause_image", "k8s.gcr.io/pause:", "not an image"),
        ("pause_image", "a:b:c", "not an image"),
        ("pause_image", "x//y", "not an image"),
        ("change_id", "x" * 81, "too long"),
        ("dns_domain", "Cluster Local", "not a DNS domain"),
        ("dns_domain", "-x.local", "not a DNS domain"),
        ("pause_image", "pause image", "not an image"),
        ("pause_image", "$(reboot)", "not an image"),
        ("mode", "dry-run", "expected one of apply, plan"),
        ("mode", "", "expected one of apply, plan"),
        ("inventory", "", "is empty; expected a file like parameters/inventory.example.yaml"),
        ("rehearsal", "article-1.11", "expected one of article-1.10, containerd-1.24"),
        ("steps", ["kubelet", "etcd"], "names the step 'etcd'; expected some of kubelet"),
        ("steps", 3, "type int; expected a list of kubelet"),
        ("steps", {"kubelet": True}, "type dict; expected a list"),
        ("target_release", 1.3, "-r target_release VALUE keeps text"),  # papermill's -p makes that of 1.30
        ("target_release", "1.9", "is not a release to go to: no table covers Kubernetes 1.9"),
        ("target_release", "next", "names no Kubernetes release"),
        ("change_id", 4711, "-r change_id VALUE keeps text"),
        ("rehearsal_dir", ["/tmp"], "type list; expected text"),
        ("batch_size", 0, "is not a size of a batch; expected a number of nodes from 1 on, or a percentage"),
        ("batch_size", "", "is not a size of a batch"),
        ("batch_size", "many", "is not a size of a batch"),
        ("batch_size", 2.5, "type float; expected text"),
        ("batch_size", True, "type bool; expected text"),
        ("max_failures", "0", "type str; expected a whole number"),
        ("max_failures", -1, "is out of range; expected 0 to"),
        ("max_failures", False, "type bool; expected a whole number"),
        ("confirm_timeout", 1, "is out of range; expected 5 to 3600"),
        ("drain_timeout", 60.0, "type float; expected a whole number"),
        ("drain", "yes", "is neither true nor false"),
        ("drain", 1, "is neither true nor false"),
        ("default_policy", "", "expected one of restricted, baseline, none"),
        ("default_policy", "privileged", "expected one of restricted, baseline, none"),
        ("accept_breaking", 3, "type int; expected a list of names like shop/web"),
        ("accept_breaking", "[shop]", "holds 'shop'; expected a name like shop/web, or Deployment shop/web"),
        ("accept_breaking", ["shop/web", None], "holds None"),
        ("accept_breaking", ["a b c/d"], "holds 'a b c/d'"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object, expected: str) -> None:
    with pytest.raises(ParameterError) as error:
        read(**{name: value})
    assert f"{name}: {value!r}" in str(error.value)
    assert expected in str(error.value)


def test_numbers_percentages_and_yes_or_no_as_papermill_passes_them() -> None:
    assert (read(batch_size=3).batch_size, read(batch_size="25%").batch_size) == ("3", "25%")
    assert (read(drain="true").drain, read(drain=True).drain, read(drain="False").drain) == (
        True,
        True,
        False,
    )


@pytest.mark.parametrize(
    "names",
    ["[shop/web, Deployment shop/api]", "shop/web,Deployment shop/api", ["shop/web", "Deployment shop/api"]],
)
def test_what_may_break_as_papermill_passes_it_on_the_command_line(names: object) -> None:
    assert read(accept_breaking=names).accept_breaking == ("shop/web", "Deployment shop/api")
    assert read(accept_breaking=[]).accept_breaking == read().accept_breaking == ()


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ParameterError) as error:
        read(dns_ip="x", mode="y")
    assert "dns_ip" in str(error.value)
    assert "mode" in str(error.value)


def test_right_values_pass() -> None:
    made = read(
        dns_ip="fd00::a", cluster_cidr="10.32.0.0/16,fd00::/48", pause_image="k8s.gcr.io/pause-amd64:3.1"
    )
    assert made.dns_ip == "fd00::a"


def test_an_unknown_name_that_papermill_injected_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"dns_pi: there is no such parameter; did you mean dns_ip\?"):
        read(("# Parameters\ndns_pi = '10.0.0.10'\n",))


def test_a_file_of_another_release_is_told_what_there_is_once() -> None:
    """papermill's ``-f``, with many names that are none any more: each in a short line, and the list below them."""
    with pytest.raises(ParameterError) as error:
        read(("# Parameters\ncluster_dns = '10.0.0.10'\npsp = True\nnode = []\n",), max_failures="many")
    _first, *lines, last = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["cluster_dns", "psp", "node", "max_failures"]
    assert max(map(len, lines)) < 100
    assert last == f"The parameters of this notebook are {', '.join(Parameters.model_fields)}."


def test_a_misspelt_name_in_the_parameters_cell_is_noticed_too() -> None:
    with pytest.raises(ParameterError, match="dnsip"):
        read(('dns_ip: str = ""\ndnsip: str = "10.0.0.10"\n',))


def test_a_misspelt_name_that_was_taken_back_is_forgotten() -> None:
    cells = ('dns_ip: str = ""\ndnsip: str = "10.0.0.10"\n', "del dnsip", 'dns_ip: str = "10.0.0.10"')
    assert read(cells).dns_ip == "10.0.0.10"


def test_names_of_other_cells_are_nobodys_business() -> None:
    assert read(("import sys", "x = 1", "%matplotlib inline", "run = 3")) == Parameters(steps=names())


def test_assigned_names_are_those_of_the_top_level() -> None:
    assert assigned_names(["# Parameters\na = 1\nb: int = 2\nif True:\n    c = 3\n"], ["a"]) == ["a", "b"]


def test_a_dns_ip_is_of_the_family_of_a_range_and_not_that_of_the_api_server() -> None:
    both = [ipaddress.ip_network("fd00:10::/112"), ipaddress.ip_network("10.0.0.0/16")]
    check_dns_ip("fd00:10::a", both, "x")
    check_dns_ip("10.0.0.1", both, "x")  # the Service kubernetes has one of the first family
    for ip, ranges, words in (
        (
            "fd00:10::a",
            both[1:],
            r"outside the API server's --service-cluster-ip-range 10.0.0.0/16 \(x\);.*\(IPv6\)",
        ),
        ("10.0.0.10", both[:1], r"outside .*\(IPv4\)"),
        (
            "fd00:11::a",
            both,
            r"outside the API server's --service-cluster-ip-range fd00:10::/112,10.0.0.0/16 ",
        ),
        ("fd00:10::1", both, r"is the first one of .*, which it takes for the Service kubernetes"),
        ("10.0.0.1", both[1:], r"is the first one of"),
    ):
        with pytest.raises(ParameterError, match=words):
            check_dns_ip(ip, ranges, "x")


def test_a_dns_ip_outside_the_service_range_is_refused() -> None:
    check_dns_ip("10.0.0.10", [ipaddress.ip_network("10.0.0.0/16")], "x")
    check_dns_ip("", [ipaddress.ip_network("10.0.0.0/16")], "x")
    check_dns_ip("10.1.0.10", [], "x")
    check_dns_ip("fd00::a", [ipaddress.ip_network("10.0.0.0/16"), ipaddress.ip_network("fd00::/112")], "x")
    with pytest.raises(ParameterError, match=r"dns_ip: '10.1.0.10' is outside .*10.0.0.0/16"):
        check_dns_ip("10.1.0.10", [ipaddress.ip_network("10.0.0.0/16")], "x")


def test_there_are_four_steps() -> None:
    assert len(names()) == 4


def test_an_inventory_can_name_its_rehearsal_cluster() -> None:
    named = read(inventory="rehearsal:containerd-1.24")
    assert (named.inventory, named.rehearsal) == ("rehearsal", "containerd-1.24")
    assert read(inventory="./lab:2.yaml").inventory == "./lab:2.yaml"
    with pytest.raises(ParameterError, match=r"rehearsal: 'none-1\.0' is not known"):
        read(inventory="rehearsal:none-1.0")


ANY = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.lists(st.none() | st.text(max_size=5), max_size=3)
    | st.sampled_from(
        ["~nobody-here", "a\0b", "x" * 5000, "~" * 300, "\ud800", "/" * 5000, "a/b-" * 2000, "1" * 5000]
    )
)


@given(st.dictionaries(st.sampled_from(sorted(Parameters.model_fields)), ANY, max_size=4))
@settings(max_examples=sampling.examples(200), deadline=None)
def test_no_value_raises_anything_else(values: dict) -> None:
    said = ""
    try:
        read_parameters(Parameters, values, rehearsals=("article-1.10",), steps=("kubelet",))
    except ParameterError as error:
        said = str(error)
    assert len(said) < 700 * (len(values) + 1)


@pytest.mark.parametrize("name", ["inventory", "rehearsal_dir", "output_dir", "policies", "approval"])
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("a\0b", "has a control character in it"),
        ("a\nb", "has a control character in it"),
        ("x" * 5000, "is too long"),
        ("a/" * 3000, "is too long"),
        ("~nobody-here/x", "names a home folder that nobody has"),
        ("a\ud800", "has a character in it that no file system has"),
    ],
)
def test_what_cannot_be_a_path_is_refused_by_name(name: str, path: str, why: str) -> None:
    with pytest.raises(ParameterError, match=rf"(?s)\n  {name}: '.* {why}; expected a path") as raised:
        read_parameters(Parameters, {name: path}, rehearsals=("article-1.10",), steps=("kubelet",))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "reason",
    [
        "new password: hunter2 horse",
        "joined with k1u2b3.h4a5r6d7e8n9z0xy",
        "see https://ops:hunter2@web/ticket",
        "pass\x1b[0mword=hunter2",
        "Authorization: Bearer hunter2hunter2",
    ],
)
def test_a_secret_is_refused_before_anything_runs_and_is_not_repeated(reason: str) -> None:
    """Plain papermill has written it into its notebook: no redaction of ours reaches that."""
    with pytest.raises(ParameterError, match="reason: has what looks like a secret in it") as raised:
        read_parameters(Parameters, {"reason": reason, "dns_ip": f"{reason} "})
    for word in ("hunter2", "h4a5r6"):
        assert word not in str(raised.value)


@pytest.mark.parametrize(
    "reason", ["rotate the tokens of CHG-12", "sudo without a password", "secrets are encrypted"]
)
def test_words_about_secrets_are_not_secrets(reason: str) -> None:
    assert read_parameters(Parameters, {"reason": reason}).reason == reason
