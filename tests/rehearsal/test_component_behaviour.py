"""What components do when they start, by release, without a cluster around them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kubeharden_rehearsal.apiserver_process import start_apiserver
from kubeharden_rehearsal.behaviour import Klog, RefusedError, Started, Surroundings
from kubeharden_rehearsal.component_processes import start_kubelet, start_proxy, start_scheduler

CONFIG = "/etc/kubernetes/component.conf"
KUBECONFIG = "/etc/kubernetes/component.kubeconfig"
CLIENT = f"clientConnection:\n  kubeconfig: {KUBECONFIG}\n"
SCHEDULER_V1BETA1 = (
    f"kind: KubeSchedulerConfiguration\napiVersion: kubescheduler.config.k8s.io/v1beta1\n{CLIENT}"
)
SCHEDULER_1_10 = f"kind: KubeSchedulerConfiguration\napiVersion: componentconfig/v1alpha1\n{CLIENT}"
PROXY = f"kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\n{CLIENT}"
KUBELET = "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n"


@dataclass
class Files:
    texts: dict[str, str] = field(default_factory=lambda: {KUBECONFIG: "kind: Config\n"})
    forbidden: set[str] = field(default_factory=set)

    def read(self, path: str) -> bytes:
        if path in self.forbidden:
            raise PermissionError(path)
        if path not in self.texts:
            raise FileNotFoundError(path)
        return self.texts[path].encode()


def around(version: str, files: Files | None = None) -> Surroundings:
    return Surroundings(
        version=version,
        node="node",
        user="root",
        read=(files or Files()).read,
        log=Klog(42, 0.0),
        running=frozenset({"etcd.service"}),
    )


def with_config(start, version: str, text: str, *flags: str) -> Started:
    files = Files()
    files.texts[CONFIG] = text
    return start([f"--config={CONFIG}", *flags], around(version, files))


def refused(start, argv: list[str], version: str, files: Files | None = None) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        start(argv, around(version, files))
    return caught.value


class TestCommandLines:
    @pytest.mark.parametrize(
        ("start", "version", "flag", "words", "status"),
        [
            (start_kubelet, "v1.10.0", "--no-such", "unknown flag: --no-such", 255),
            (start_kubelet, "v1.20.2", "--allow-privileged=true", "unknown flag: --allow-privileged", 255),
            (
                start_kubelet,
                "v1.24.17",
                "--network-plugin=cni",
                "Error: failed to parse kubelet flag: unknown flag: --network-plugin",
                1,
            ),
            (start_proxy, "v1.10.0", "--no-such", "error: unknown flag: --no-such", 1),
            (start_scheduler, "v1.20.2", "--no-such", "Error: unknown flag: --no-such", 1),
            (start_scheduler, "v1.24.17", "--port=0", "Error: unknown flag: --port", 1),
        ],
    )
    def test_an_unknown_flag_is_the_end(self, start, version, flag, words, status):
        error = refused(start, [flag], version)
        assert error.status == status
        assert any(words in line for line in error.lines)

    def test_a_malformed_value_is_the_end(self):
        error = refused(start_kubelet, ["--max-pods=all"], "v1.20.2")
        assert 'invalid argument "all" for "--max-pods" flag' in error.lines[-1]

    def test_the_kubelet_must_agree_with_docker(self):
        error = refused(start_kubelet, ["--cgroup-driver=systemd"], "v1.20.2")
        assert 'is different from docker cgroup driver: "cgroupfs"' in error.lines[-1]
        remote = ["--cgroup-driver=systemd", "--container-runtime=remote"]
        assert start_kubelet(remote, around("v1.20.2")).config["cgroupDriver"] == "systemd"

    def test_flags_before_the_bad_one_are_warned_of(self):
        argv = ["--address=0.0.0.0", "--no-such=1", "--cluster-domain=cluster.local"]
        error = refused(start_kubelet, argv, "v1.10.0")
        assert [line.split()[1] for line in error.lines[:-1]] == ["--address"]

    def test_a_flag_given_twice_is_warned_of_twice(self):
        argv = ["--cluster-dns=10.0.0.10", "--cluster-dns=10.0.0.11"]
        lines = start_kubelet(argv, around("v1.10.0")).lines
        assert sum(line.startswith("Flag --cluster-dns has been deprecated") for line in lines) == 2

    @pytest.mark.parametrize(("version", "warned"), [("v1.10.0", 1), ("v1.22.4", 1), ("v1.24.17", 0)])
    def test_the_proxy_wants_a_file_up_to_1_22(self, version, warned):
        lines = start_proxy([f"--kubeconfig={KUBECONFIG}"], around(version)).lines
        assert sum("Please begin using a config file ASAP" in line for line in lines) == warned
        lines = with_config(start_proxy, version, PROXY).lines
        assert not any("ASAP" in line for line in lines)

    def test_the_scheduler_of_1_20_does_not_mind_flags(self):
        lines = start_scheduler([f"--kubeconfig={KUBECONFIG}"], around("v1.20.2")).lines
        assert not any("deprecated" in line for line in lines)


class TestConfigFiles:
    @pytest.mark.parametrize(
        ("start", "version", "text", "words"),
        [
            (start_kubelet, "v1.10.0", "kind: [", "yaml: line"),
            (start_kubelet, "v1.10.0", "just words", "couldn't get version/kind"),
            (start_kubelet, "v1.10.0", "kind: KubeletConfiguration\n", "apiVersion"),
            (start_kubelet, "v1.20.2", KUBELET + "maxPods: many\n", "maxPods"),
            (start_kubelet, "v1.20.2", KUBELET + "cgroupDriver: other\n", "cgroupDriver"),
            (start_proxy, "v1.20.2", PROXY.replace("v1alpha1", "v1"), "no kind"),
            (start_proxy, "v1.20.2", PROXY + "clusterCIDR: 10.0.0\n", "must be a valid CIDR block"),
            (start_scheduler, "v1.13.0", SCHEDULER_1_10, 'for version "componentconfig/v1alpha1"'),
            (start_scheduler, "v1.10.0", SCHEDULER_V1BETA1, "no kind"),
            (start_scheduler, "v1.24.17", SCHEDULER_V1BETA1, "no kind"),
        ],
    )
    def test_a_bad_one_is_the_end(self, start, version, text, words):
        with pytest.raises(RefusedError) as caught:
            with_config(start, version, text)
        assert words in "\n".join(caught.value.lines)

    def test_a_missing_one_is_the_end(self):
        for start in (start_kubelet, start_proxy, start_scheduler):
            error = refused(start, [f"--config={CONFIG}"], "v1.20.2")
            assert f"open {CONFIG}: no such file or directory" in error.lines[-1]

    def test_one_that_may_not_be_read_is_the_end(self):
        files = Files({CONFIG: SCHEDULER_1_10, KUBECONFIG: ""}, {KUBECONFIG})
        error = refused(start_scheduler, [f"--config={CONFIG}"], "v1.10.0", files)
        assert f"{KUBECONFIG}: permission denied" in error.lines[-1]

    @pytest.mark.parametrize(
        ("start", "version", "text", "warnings"),
        [
            (start_kubelet, "v1.10.0", KUBELET + "maxPodz: 3\n", 0),
            (start_kubelet, "v1.20.2", KUBELET + "maxPodz: 3\n", 1),
            (start_proxy, "v1.16.0", PROXY + "clusterCidr: 10.0.0.0/8\n", 0),
            (start_proxy, "v1.20.2", PROXY + "clusterCidr: 10.0.0.0/8\n", 1),
            (start_scheduler, "v1.10.0", SCHEDULER_1_10 + "featureGates: {A: true}\n", 0),
        ],
    )
    def test_unknown_keys_are_dropped_with_or_without_a_word(self, start, version, text, warnings):
        lines = with_config(start, version, text).lines
        assert sum("using lenient decoding as strict decoding failed" in line for line in lines) == warnings

    def test_the_scheduler_is_strict_from_1_19(self):
        with pytest.raises(RefusedError) as caught:
            with_config(start_scheduler, "v1.20.2", SCHEDULER_V1BETA1 + "featureGates: {A: true}\n")
        assert "found unknown field: featureGates" in caught.value.lines[-1]

    def test_the_kubelet_runs_with_file_flags_and_defaults_together(self):
        started = with_config(start_kubelet, "v1.10.0", KUBELET + "maxPods: 30\n", "--port=10270")
        assert (started.config["maxPods"], started.config["port"]) == (30, 10270)
        assert started.config["readOnlyPort"] == 0
        assert start_kubelet([], around("v1.10.0")).config["readOnlyPort"] == 10255

    def test_the_proxy_ignores_flags_beside_a_file(self):
        started = with_config(start_proxy, "v1.20.2", PROXY, "--cluster-cidr=10.0.0.0/8")
        assert not started.config.get("clusterCIDR")


class TestSchedulerAddresses:
    def test_1_10_replaces_an_address_without_port(self):
        started = with_config(start_scheduler, "v1.10.0", SCHEDULER_1_10 + "healthzBindAddress: 127.0.0.1\n")
        assert started.config["healthzBindAddress"] == "0.0.0.0:10251"

    def test_1_20_listens_twice_on_one_port_and_stops(self):
        text = SCHEDULER_V1BETA1 + "healthzBindAddress: 127.0.0.1:10251\n"
        with pytest.raises(RefusedError) as caught:
            with_config(start_scheduler, "v1.20.2", text)
        assert caught.value.lines == ["failed to listen on 0.0.0.0:10251: address already in use"]
        both = text + "metricsBindAddress: 127.0.0.1:10251\n"
        assert with_config(start_scheduler, "v1.20.2", both).config

    def test_1_10_goes_on_with_a_complaint(self):
        text = SCHEDULER_1_10 + "healthzBindAddress: 127.0.0.1:10251\n"
        lines = with_config(start_scheduler, "v1.10.0", text).lines
        assert any("failed to start metrics server" in line for line in lines)


class TestApiServer:
    OLD = "--admission-control=NamespaceLifecycle,ServiceAccount"
    EXCLUSIVE = (
        "admission-control and enable-admission-plugins/disable-admission-plugins flags are "
        "mutually exclusive"
    )

    def test_the_old_list_is_exact(self):
        started = start_apiserver([self.OLD], around("v1.10.0"))
        assert started.config["plugins"] == ["NamespaceLifecycle", "ServiceAccount"]
        assert started.lines[0].startswith("Flag --admission-control has been deprecated, Use --enable-")

    def test_the_new_ones_add_to_the_defaults_and_take_from_them(self):
        argv = ["--enable-admission-plugins", "PodSecurityPolicy", "--disable-admission-plugins=Priority"]
        plugins = start_apiserver(argv, around("v1.20.2")).config["plugins"]
        assert {"PodSecurityPolicy", "LimitRanger"} <= set(plugins)
        assert "Priority" not in plugins

    @pytest.mark.parametrize(
        "other", ["--enable-admission-plugins=NodeRestriction", "--disable-admission-plugins=Priority"]
    )
    def test_old_and_new_together_are_refused(self, other):
        error = refused(start_apiserver, [self.OLD, other], "v1.10.0")
        assert (error.lines[-1], error.status) == (f"error: {self.EXCLUSIVE}", 1)

    @pytest.mark.parametrize(
        ("version", "flag", "words"),
        [
            (
                "v1.10.0",
                "--enable-admission-plugins=PodSecurity",
                'enable-admission-plugins plugin "PodSecurity"',
            ),
            ("v1.20.2", "--admission-control=Nonsense", 'admission-control plugin "Nonsense" is unknown'),
            ("v1.25.0", "--enable-admission-plugins=PodSecurityPolicy", '\\"PodSecurityPolicy\\" is unknown'),
            (
                "v1.20.2",
                "--disable-admission-plugins=PodPreset",
                'disable-admission-plugins plugin "PodPreset"',
            ),
        ],
    )
    def test_an_unknown_plugin_is_refused(self, version, flag, words):
        assert words in refused(start_apiserver, [flag], version).lines[-1]

    def test_a_plugin_both_on_and_off_is_refused(self):
        argv = ["--enable-admission-plugins=Priority", "--disable-admission-plugins=Priority"]
        assert "overlapped" in refused(start_apiserver, argv, "v1.20.2").lines[-1]

    def test_two_faults_stand_in_brackets(self):
        argv = [self.OLD, "--enable-admission-plugins=Nonsense"]
        words = refused(start_apiserver, argv, "v1.10.0").lines[-1]
        assert words == f'error: [{self.EXCLUSIVE}, enable-admission-plugins plugin "Nonsense" is unknown]'

    def test_a_key_that_its_user_may_not_read_is_refused(self):
        key = "/etc/kubernetes/pki/sa.key"
        error = refused(start_apiserver, [f"--tls-private-key-file={key}"], "v1.20.2", Files({}, {key}))
        assert error.lines[-1] == f"Error: open {key}: permission denied"
